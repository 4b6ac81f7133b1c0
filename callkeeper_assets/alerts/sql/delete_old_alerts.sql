-- Causes that are long over.
DELETE FROM callkeeper_alerts WHERE ended_at < %(before)s
