-- How the source's values are read. Each rule is here once.

-- A blank means no value; another text is left as received. What begins with a character above
-- the blank is none: trimming every value would cost a quarter of the transformation's time.
CREATE OR REPLACE MACRO blank_to_null(value) AS
    CASE WHEN value >= '!' THEN value WHEN trim(value, e' \t\r\n') <> '' THEN value END;

-- The same for calls with the character 0, which PostgreSQL's text cannot hold.
CREATE OR REPLACE MACRO blank_to_null_without_zeros(value) AS
    blank_to_null(replace(value, chr(0), ''));

-- A whole number; what cannot be read or does not fit PostgreSQL's integer is NULL.
CREATE OR REPLACE MACRO whole(value) AS try_cast(value AS INTEGER);

-- A moment in UTC; '0000-00-00', 'infinity' and what no clock showed are NULL.
CREATE OR REPLACE MACRO plausible(value) AS
    CASE WHEN value BETWEEN TIMESTAMPTZ '1970-01-01' AND TIMESTAMPTZ '2200-01-01' THEN value END;
CREATE OR REPLACE MACRO moment(value) AS plausible(try_cast(value AS TIMESTAMPTZ));

-- Sourcebuster's words for "no value".
CREATE OR REPLACE MACRO mark(value) AS
    CASE
        WHEN value NOT IN ('(none)', '(direct)', '(not set)', '(not provided)') THEN value
    END;

-- Labels of the pairs of codes: see the API's table of statuses. A missing second code is 0.
CREATE OR REPLACE MACRO call_status(code, code2) AS
    CASE
        WHEN code IS NULL THEN NULL
        WHEN code = 200 AND code2 = 200 THEN 'success'
        WHEN coalesce(code2, 0) <> 0 THEN 'failed'
        WHEN code = 1 THEN 'in_progress'
        WHEN code = 2 THEN 'planned'
        WHEN code = 707 THEN 'pending'
        ELSE 'failed'
    END;

-- The unified API's own word for a status, where it gives no codes.
CREATE OR REPLACE MACRO worded_status(word) AS
    CASE word WHEN 'success' THEN 'success' WHEN 'fail' THEN 'failed' END;

-- A count of the unified API, which writes 0 for none as well: a 0 counts where something could be
-- counted, else it is NULL.
CREATE OR REPLACE MACRO counted(value, is_possible) AS
    CASE WHEN value <> 0 OR is_possible THEN value END;

-- Tags, which the unified API sends as a list; a text that only looks like one stays as received.
CREATE OR REPLACE MACRO joined_tags(value) AS
    CASE
        WHEN value LIKE '[%' AND json_valid(value) AND json_type(value) = 'ARRAY'
        THEN nullif(array_to_string(json_extract_string(value, '$[*]'), ', '), '')
        ELSE value
    END;

-- The kinds of connection of the API's `a_type`; a new one stays as received. The words are the
-- unified API's, which does not tell the kinds of DTMF apart.
CREATE OR REPLACE MACRO connection_type(value) AS
    CASE value
        WHEN '0' THEN 'unknown'
        WHEN '1' THEN 'without_smartcall'
        WHEN '2' THEN 'analogue_dtmf'
        WHEN '3' THEN 'digital_dtmf'
        WHEN '4' THEN 'voice_smartcall'
        WHEN '5' THEN 'automatic'
        WHEN 'smartcall' THEN 'voice_smartcall'
        WHEN 'auto' THEN 'automatic'
        ELSE value
    END;

-- The kind of a visit. The type that the source names counts (`utm` is Sourcebuster's word for a
-- visit with utm marks: paid, unless its medium says otherwise; `typein` is direct). Without a type:
-- a click id or a paid medium is paid, then the medium's own word, then any other utm mark is
-- treated as `utm`, a referrer alone is a referral, an entry without either is direct.
-- Nothing known is NULL. `kind` and `medium` come in lower case.
CREATE OR REPLACE MACRO visit_grouping(
    kind, source, medium, campaign, content, term, entry_point, referrer
) AS
    CASE
        WHEN kind = 'typein' THEN 'direct'
        WHEN kind IS NOT NULL AND kind NOT IN ('utm', '(none)', '(not set)') THEN kind
        WHEN medium IN ('cpc', 'ppc', 'cpm', 'cpa', 'cpv', 'paid', 'paid_social', 'paidsearch')
        THEN 'paid'
        WHEN contains(entry_point, 'gclid=') OR contains(entry_point, 'yclid=') THEN 'paid'
        WHEN medium IN ('organic', 'referral') THEN medium
        WHEN kind = 'utm' THEN 'paid'
        WHEN source IN ('(direct)', 'direct', 'typein') THEN 'direct'
        WHEN coalesce(
            mark(source), mark(medium), mark(campaign), mark(content), mark(term)
        ) IS NOT NULL
        THEN 'paid'
        WHEN mark(referrer) IS NOT NULL THEN 'referral'
        WHEN entry_point IS NOT NULL OR medium = '(none)' THEN 'direct'
    END;

-- The key of a dimension's row: the same for the same values, NULL told from text.
CREATE OR REPLACE MACRO key_part(value) AS coalesce(value, chr(30));
