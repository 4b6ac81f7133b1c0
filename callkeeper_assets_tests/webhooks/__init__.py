"""Tests of the receiver, the inbox, the spool and the processing of what waits."""
