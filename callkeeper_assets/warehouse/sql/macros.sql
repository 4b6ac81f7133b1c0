-- How the source's values are read. Each rule is here once.

-- A blank means no value, and so does the empty list that PHP writes for nothing; another text is
-- left as received. What begins with a character above the blank is none: trimming every value would
-- cost a quarter of the transformation's time.
CREATE OR REPLACE MACRO blank_to_null(value) AS
    CASE
        WHEN value = '[]' THEN NULL
        WHEN value >= '!' THEN value
        WHEN trim(value, e' \t\r\n') <> '' THEN value
    END;

-- The same for calls with the character 0, which PostgreSQL's text cannot hold.
CREATE OR REPLACE MACRO blank_to_null_without_zeros(value) AS
    blank_to_null(replace(value, chr(0), ''));

-- A whole number in plain decimal digits, blanks around it allowed; all else, and what does not fit
-- PostgreSQL's integer, is NULL. A cast alone would round 12.7 and read 0x1F, 1_000 and 1e3: it is
-- enough where nothing but digits and blanks stands in any number of the call (`is_plain`).
CREATE OR REPLACE MACRO whole(value, is_plain) AS
    CASE
        WHEN is_plain THEN try_cast(value AS INTEGER)
        WHEN regexp_full_match(value, '[ \t\r\n]*[+-]?[0-9]+[ \t\r\n]*')
        THEN try_cast(value AS INTEGER)
    END;
CREATE OR REPLACE MACRO are_plain(texts) AS NOT regexp_matches(texts, '[^0-9 ]');

-- A moment in UTC; '0000-00-00', 'infinity' and what no clock showed are NULL.
CREATE OR REPLACE MACRO plausible(value) AS
    CASE WHEN value BETWEEN TIMESTAMPTZ '1970-01-01' AND TIMESTAMPTZ '2200-01-01' THEN value END;
-- Also as ten digits of seconds since 1970, with a fraction or without, and with a blank before the
-- zone. Where the first reading succeeds, the others are not tried.
CREATE OR REPLACE MACRO moment(value) AS
    coalesce(
        plausible(try_cast(value AS TIMESTAMPTZ)),
        CASE
            WHEN regexp_full_match(value, '[ \t\r\n]*[0-9]{10}([.][0-9]*)?[ \t\r\n]*')
            THEN plausible(to_timestamp(try_cast(trim(value, e' \t\r\n') AS DOUBLE)))
            WHEN regexp_full_match(value, '.* (Z|[+-][0-9][0-9](:?[0-9][0-9])?)[ \t\r\n]*')
            THEN plausible(try_cast(regexp_replace(value, ' (Z|[+-])', '\1') AS TIMESTAMPTZ))
        END
    );

-- Whether nothing could be read of a value. How MySQL, and so the source, writes "no time" is none,
-- and so is the 0 that the unified API writes for whatever is empty.
CREATE OR REPLACE MACRO is_unread(value, result) AS
    value IS NOT NULL AND result IS NULL AND value <> '0' AND NOT starts_with(value, '0000-00-00');

-- Sourcebuster's words for "no value".
CREATE OR REPLACE MACRO mark(value) AS
    CASE
        WHEN value NOT IN ('(none)', '(direct)', '(not set)', '(not provided)') THEN value
    END;

-- A voice message was delivered to the client; passed to voice mail; only the lead was taken.
CREATE OR REPLACE MACRO is_apart(code, code2) AS
    (code = 101 AND code2 = 200) OR (code = 200 AND code2 IN (199, 201));

-- Labels of the pairs of codes: see the API's table of statuses. A missing second code is 0.
-- Neither a success nor a failure is what never was to become a talk: see is_apart.
CREATE OR REPLACE MACRO call_status(code, code2) AS
    CASE
        WHEN code IS NULL THEN NULL
        WHEN code = 200 AND code2 = 200 THEN 'success'
        WHEN is_apart(code, code2) THEN NULL
        WHEN coalesce(code2, 0) <> 0 THEN 'failed'
        WHEN code = 1 THEN 'in_progress'
        WHEN code = 2 THEN 'planned'
        WHEN code = 707 THEN 'pending'
        ELSE 'failed'
    END;

-- The unified API's own word for a status, where it gives no codes.
CREATE OR REPLACE MACRO worded_status(word, code) AS
    CASE
        WHEN code IS NOT NULL THEN NULL
        WHEN word = 'success' THEN 'success'
        WHEN word = 'fail' THEN 'failed'
    END;

-- A count of the unified API, which writes 0 for none as well: a 0 counts where something could be
-- counted, else it is NULL.
CREATE OR REPLACE MACRO counted(value, is_possible) AS
    CASE WHEN value <> 0 OR is_possible THEN value END;

-- A phone number that was taken for a quantity on its way, as number or as text, is still that
-- number: 79161234567.0 and 7.9161234567e10. Addresses of SIP have points, too, and stay.
CREATE OR REPLACE MACRO phone_number(value) AS
    CASE
        WHEN NOT contains(value, '.') THEN value
        WHEN regexp_full_match(value, '[+]?[0-9]+[.]0*') THEN split_part(value, '.', 1)
        WHEN regexp_full_match(value, '[1-9][.][0-9]{4,10}[eE][+]?1[0-4]')
        THEN try_cast(value AS DECIMAL(20, 0))::VARCHAR
        ELSE value
    END;

-- Several managers' numbers in one text, parted by _, each with its extension behind ^ or with none:
-- 74950000001^12_74950000003^_. One alone can be followed by an empty extension and _. An entry is an
-- address of SIP, in whose user an underscore may stand, a hashed number, or digits, of which some
-- may be masked, with the brackets that stand around a code. privacy.phone_fields takes lists apart
-- for rules.
CREATE OR REPLACE MACRO phone_entry() AS
    '(?:[^@^]+@[^_@^]+|sips?:[^_@^]+|tel_[a-p]{20}|[+]?[(]?[0-9*][0-9*().\s-]*)';
CREATE OR REPLACE MACRO phone_list(value) AS
    CASE
        WHEN NOT contains(value, '_') THEN NULL
        WHEN regexp_full_match(
            value, format('{0}(?:\^[^_@^]*)?(?:_{0}(?:\^[^_@^]*)?)*_?', phone_entry())
        ) AND starts_with(
            regexp_replace(value, format('^{0}(?:\^[^_@^]*)?', phone_entry()), ''), '_'
        )
        THEN value
    END;
-- Of a list; the extension can be empty.
CREATE OR REPLACE MACRO first_phone(list) AS
    regexp_extract(list, format('^{0}', phone_entry()));
CREATE OR REPLACE MACRO first_extension(list) AS
    regexp_extract(list, format('^{0}\^([^_@^]*)', phone_entry()), 1);

-- An address or a page that is not known: Sourcebuster's word for it where nobody told the address.
CREATE OR REPLACE MACRO told(value) AS nullif(value, '(none)');

-- A place that the source does not know is none.
CREATE OR REPLACE MACRO place(value) AS
    CASE WHEN value NOT IN ('N/A', 'n/a', '-') THEN value END;

-- Tags, which the unified API sends as a list; a text that only looks like one stays as received.
-- The list is JSON as it came: the character 0 is still in its members.
CREATE OR REPLACE MACRO joined_tags(value) AS
    CASE
        WHEN value LIKE '[%' AND json_valid(value) AND json_type(value) = 'ARRAY'
        THEN nullif(array_to_string(list_filter(list_transform(
            json_extract_string(value, '$[*]'),
            lambda tag: trim(replace(tag, chr(0), ''), e' \t\r\n')
        ), lambda tag: tag <> ''), ', '), '')
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

-- Whether a visit came from a search engine's page: one of these names is its host's last label
-- before the country's, or the whole of the referrer.
CREATE OR REPLACE MACRO is_search(referrer) AS
    regexp_matches(
        lower(referrer),
        '^\s*(?:[a-z][a-z0-9+.-]*://|//)?(?:[^/?#@]*@)?(?:[a-z0-9_-]+\.)*'
        || '(?:bing|yahoo|rambler|tut|yandex|google)(?:\.(?:com?|org|net))?(?:\.[a-z]{2,})?\.?'
        || '(?::[0-9]+)?(?:[/?#]|\s*$)'
    );

-- The word for a visit's type, of those that mean the same; another one stays as received.
CREATE OR REPLACE MACRO visit_kind(kind) AS
    CASE
        WHEN kind IN ('organic', 'referral', 'paid', 'direct') THEN kind
        WHEN regexp_full_match(kind, '\s*\(?(?:type[\s_-]*in|direct)\)?(?:[\s_-]+traffic)?\s*')
        THEN 'direct'
        WHEN regexp_full_match(
            kind, '\s*(?:cp[acmv]|ppc|paid(?:[\s_-]*(?:search|social|video|shopping|other))?)\s*'
        )
        THEN 'paid'
        WHEN regexp_full_match(
            kind,
            '\s*(?:organic(?:[\s_-]*search)?|search[\s_-]+organic|natural[\s_-]+search|seo)\s*'
        )
        THEN 'organic'
        WHEN regexp_full_match(kind, '\s*referr(?:al|er)(?:[\s_-]+traffic)?\s*') THEN 'referral'
        ELSE kind
    END;

-- The kind of a visit. The type that the source names counts (`utm` is Sourcebuster's word for a
-- visit with utm marks: paid, unless its medium says otherwise; `typein` is direct). Without a type:
-- a click id or a paid medium is paid, then the medium's own word, then any other utm mark is
-- treated as `utm`, a referrer alone is organic if it is a search engine's, else a referral; an
-- entry without either is direct. Nothing known is NULL. `kind` and `medium` come in lower case.
CREATE OR REPLACE MACRO visit_grouping(
    kind, source, medium, campaign, content, term, entry_point, referrer
) AS
    CASE
        WHEN kind IS NOT NULL AND kind NOT IN ('utm', '(none)', '(not set)') THEN visit_kind(kind)
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
        WHEN mark(referrer) IS NOT NULL
        THEN CASE WHEN is_search(referrer) THEN 'organic' ELSE 'referral' END
        WHEN entry_point IS NOT NULL OR medium = '(none)' THEN 'direct'
    END;

-- The key of a dimension's row: the same for the same values, NULL told from text.
CREATE OR REPLACE MACRO key_part(value) AS coalesce(value, chr(30));
