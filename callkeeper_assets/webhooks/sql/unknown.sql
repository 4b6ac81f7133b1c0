-- The numbers, from 1, of those deliveries whose payload is not in the inbox. Waits for nobody. Not
-- by NOT EXISTS: as a join it is planned by what the inbox held once, and can read all of it.
SELECT given.place
FROM unnest(%(accounts)b::int[], %(digests)b::text[]) WITH ORDINALITY AS given (
    account_id, digest, place
)
WHERE (
    SELECT known.id
    FROM callkeeper_webhooks AS known
    WHERE known.account_id = given.account_id AND known.digest = given.digest
) IS NULL
ORDER BY given.place
