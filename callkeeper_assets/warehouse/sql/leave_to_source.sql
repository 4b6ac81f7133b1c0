-- The warehouse's rows of the calls that only webhooks told of, `held`, and the batch without the
-- calls that the source itself has told of: its word stands. `told` are the rows of all of them.
CREATE OR REPLACE TEMP VIEW held AS SELECT * FROM told WHERE origin = 'webhook';
DELETE FROM {frame} WHERE call_id IN (SELECT call_id FROM told WHERE origin = 'api')
