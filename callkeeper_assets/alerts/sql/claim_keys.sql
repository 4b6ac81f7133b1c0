-- Sources whose key is to be asked after, as of now asked by us: those that were not for long, and,
-- sooner, those that something is wrong with; so many at most.
WITH due AS (
    SELECT a.account_id
    FROM general_accounts AS a
    LEFT JOIN callkeeper_keys AS k USING (account_id)
    WHERE a.name = ANY(%(names)s) AND (
        k.checked_at IS NULL OR k.checked_at < now() - CASE
            WHEN k.error IS NOT NULL OR a.name = ANY(%(doubtful)s) THEN %(soon)s::interval
            ELSE %(later)s::interval
        END
    )
    ORDER BY k.checked_at NULLS FIRST
    LIMIT %(most)s
),
claimed AS (
    INSERT INTO callkeeper_keys AS k (account_id, checked_at)
    SELECT account_id, now() FROM due
    ON CONFLICT (account_id) DO UPDATE
    SET checked_at = now()
    WHERE k.checked_at < now() - %(soon)s::interval
    RETURNING k.account_id
)
SELECT a.name FROM claimed JOIN general_accounts AS a USING (account_id)
