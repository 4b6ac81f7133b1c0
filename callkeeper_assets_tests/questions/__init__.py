"""Tests of the ten business questions: as SQL, in the notebook, in dbt."""
