-- The log. One row of `events` is one event in its place.
--
-- Rows come in only through append_batch(), which numbers them under one lock; nobody updates, deletes or
-- truncates them. The server's role may read the log and call the functions at the end of this file, nothing else.

CREATE TABLE events (
    position     bigint   PRIMARY KEY,  -- 1, 2, 3, … over the whole log, without a gap
    recorded_at  bigint   NOT NULL,     -- µs since 1970, strictly rising with position
    seq          bigint   NOT NULL,     -- 1, 2, 3, … in its stream, without a gap
    stream       uuid     NOT NULL,
    event_id     uuid     NOT NULL,
    subject      uuid,
    actor        uuid,
    device       uuid,
    correlation  uuid,
    causation    uuid,
    stream_kind  smallint NOT NULL,
    schema       smallint NOT NULL,
    kind         text     NOT NULL,
    public       text     NOT NULL,     -- JSON, byte for byte: not jsonb, which would reorder it
    sealed_hash  bytea,
    body_hash    bytea    NOT NULL,     -- what a retry is compared by
    chain        bytea    NOT NULL,     -- the stream's running hash at seq
    content_hash bytea,                 -- the small ciphertext that came with it, in `contents`
    CONSTRAINT events_id_is_used_once UNIQUE (event_id),
    CONSTRAINT events_seq_is_used_once UNIQUE (stream, seq)
);

-- The last event about a subject is one step at the end of this index: no counter row to keep.
CREATE INDEX events_by_subject ON events (stream, subject, seq) WHERE subject IS NOT NULL;

-- What a stream is. Its head is its last event, one step at the end of an index: no row that every batch rewrites.
CREATE TABLE streams (
    stream uuid     PRIMARY KEY,
    kind   smallint NOT NULL,
    epoch  bytea    NOT NULL
);

-- Personal data, sealed under a subject key. Outside the leaf (which has its hash), so that it can be erased.
CREATE TABLE event_sealed (
    event_id uuid  PRIMARY KEY,
    subject  uuid  NOT NULL,
    purpose  text  NOT NULL,
    period   text  NOT NULL,
    bytes    bytea NOT NULL
);
CREATE INDEX event_sealed_by_subject ON event_sealed (subject, purpose, period);

-- Small ciphertexts that commit with the event that names them; erased by pruning and purge.
CREATE TABLE contents (
    stream uuid  NOT NULL,
    hash   bytea NOT NULL,
    bytes  bytea NOT NULL,
    PRIMARY KEY (stream, hash)
);
ALTER TABLE contents ALTER COLUMN bytes SET STORAGE EXTERNAL;  -- ciphertext does not compress

-- The random name of this log.
CREATE TABLE log_meta (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    log_id uuid    NOT NULL
);
INSERT INTO log_meta (log_id) VALUES (gen_random_uuid());

-- Append-only holds for everybody, the owner too.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER events_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER streams_never_go BEFORE DELETE OR TRUNCATE ON streams
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Appends a batch of units, each as a whole or not at all: one call, one transaction, one lock. It is the twin of
-- planner.rs; a differential test keeps the two byte-identical.
--
-- A batch comes as columns. Everything that is looked up comes once, in a dictionary (streams s_, pairs of stream
-- and subject p_, event ids i_); units, claims and events name its entries by index from 1. u_* have the last index
-- of each unit in the list they name. Then the batch is decided by one loop over arrays, without any look-up.
CREATE FUNCTION append_batch(
    now_us       bigint,
    u_events     int[],
    u_claims     int[],
    u_subjects   int[],
    u_requires   int[],
    s_id         uuid[],
    c_stream     int[],        -- stream claims: which stream,
    c_kind       smallint[],   -- what it is about,
    c_expect     smallint[],   -- 0 any, 1 none, 2 exists, 3 exact
    c_seq        bigint[],     -- … at this seq,
    c_epoch      bytea[],      -- its epoch if this unit creates it
    p_stream     uuid[],
    p_subject    uuid[],
    a_pair       int[],        -- subject claims: which pair,
    a_expect     smallint[],   -- 0 any, 1 none, 3 exact
    a_seq        bigint[],     -- … at this seq
    i_id         uuid[],
    r_ident      int[],        -- required events: which id,
    r_stream     uuid[],       -- in which stream,
    r_own        boolean[],    -- whether the unit itself brings it
    e_ident      int[],        -- events: which id,
    e_claim      int[],        -- the claim of their stream,
    e_pair       int[],        -- their pair of stream and subject; null without a subject
    e_kind       text[],
    e_schema     smallint[],
    e_actor      uuid[],
    e_device     uuid[],
    e_correlation uuid[],
    e_causation  uuid[],
    e_public     text[],
    e_sealed_hash bytea[],
    e_body       bytea[],
    e_content_hash bytea[],
    e_content    bytea[],
    z_event      int[],        -- sealed parts: of which event
    z_subject    uuid[],
    z_purpose    text[],
    z_period     text[],
    z_bytes      bytea[],
    OUT o_unit   smallint[],   -- per unit: 0 appended, 1 id reused, 2 conflict, 3 missing
    OUT o_reused int[],        -- per unit: the event whose id was reused
    OUT o_pos    bigint[],     -- per event: its place, or null
    OUT o_seq    bigint[],
    OUT o_at     bigint[],
    OUT o_chain  bytea[],
    OUT o_prev   bigint[],     -- per event: seq of the event about the same subject before it
    OUT o_dup    boolean[],    -- per event: whether it was there before; null if its unit was refused
    OUT d_unit   int[],        -- details of refusals: the unit,
    OUT d_what   smallint[],   -- 1 stream seq, 2 subject seq, 3 stream kind, 4 missing event
    OUT d_index  int[],        -- the claim or required event
    OUT d_value  bigint[]      -- what holds instead
)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET lock_timeout = '10s'
-- Every look-up below is a handful of index probes, whatever the statistics of a young or empty table say.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
DECLARE
    -- 0x00 of a leaf hash, then the domain with its length.
    leaf_start CONSTANT bytea := '\x00'::bytea || int4send(16) || convert_to('lockstep/v1/leaf', 'UTF8');
    zero       CONSTANT bytea := decode(repeat('00', 32), 'hex');
    absent     CONSTANT bytea := '\x00';
    present    CONSTANT bytea := '\x01';
    events_n   CONSTANT int := array_length(e_ident, 1);
    locked     boolean;
    pos        bigint;
    at_us      bigint;
    -- What stands of the dictionary, null where nothing does; kept up to date for streams and pairs.
    s_seq      bigint[];
    s_kind     smallint[];
    s_chain    bytea[];
    p_seq      bigint[];
    x_pos      bigint[];
    x_seq      bigint[];
    x_at       bigint[];
    x_chain    bytea[];
    x_body     bytea[];
    x_stream   uuid[];
    -- The event of this batch that brought an id.
    x_event    int[] := array_fill(NULL::int, ARRAY[array_length(i_id, 1)]);
    new_stream int[] := '{}';
    new_claim  int[] := '{}';
    code       smallint;
    fresh      boolean;
    some_fresh boolean := false;
    holds      boolean;
    first_e    int := 1;
    first_c    int := 1;
    first_a    int := 1;
    first_r    int := 1;
    last_e     int;
    c int; s int; i int; p int; x int; now_seq bigint; sha bytea;
BEGIN
    o_reused := array_fill(NULL::int, ARRAY[array_length(u_events, 1)]);
    o_pos    := array_fill(NULL::bigint, ARRAY[events_n]);
    o_seq    := o_pos;
    o_at     := o_pos;
    o_prev   := o_pos;
    o_chain  := array_fill(NULL::bytea, ARRAY[events_n]);
    o_dup    := array_fill(NULL::boolean, ARRAY[events_n]);
    d_unit := '{}'; d_what := '{}'; d_index := '{}'; d_value := '{}';

    -- Held to the end of the transaction: whoever gets it next sees everything this batch has committed, because
    -- the next statement takes its snapshot after the lock.
    locked := pg_advisory_xact_lock(6003371234567890) IS NULL;

    SELECT coalesce(tail.position, 0), coalesce(tail.recorded_at, 0), streams.*, pairs.*, idents.*
    INTO pos, at_us, s_kind, s_seq, s_chain, p_seq, x_pos, x_seq, x_at, x_chain, x_body, x_stream
    FROM (SELECT array_agg(f.kind) kind, array_agg(f.seq) seq, array_agg(f.chain) chain
          FROM (SELECT h.kind, l.seq, l.chain
                FROM unnest(s_id) WITH ORDINALITY n(id, ord)
                LEFT JOIN streams h ON h.stream = n.id
                LEFT JOIN LATERAL (SELECT t.seq, t.chain FROM events t WHERE t.stream = h.stream
                                   ORDER BY t.seq DESC LIMIT 1) l ON true
                ORDER BY n.ord) f) streams
    CROSS JOIN (SELECT array_agg(f.seq) seq
          FROM (SELECT (SELECT t.seq FROM events t WHERE t.stream = n.stream AND t.subject = n.subject
                        ORDER BY t.seq DESC LIMIT 1) seq
                FROM unnest(p_stream, p_subject) WITH ORDINALITY n(stream, subject, ord)
                ORDER BY n.ord) f) pairs
    CROSS JOIN (SELECT array_agg(f.position), array_agg(f.seq), array_agg(f.recorded_at), array_agg(f.chain),
                       array_agg(f.body_hash), array_agg(f.stream)
          FROM (SELECT t.position, t.seq, t.recorded_at, t.chain, t.body_hash, t.stream
                FROM unnest(i_id) WITH ORDINALITY n(id, ord)
                LEFT JOIN events t ON t.event_id = n.id
                ORDER BY n.ord) f) idents
    LEFT JOIN (SELECT t.position, t.recorded_at FROM events t ORDER BY t.position DESC LIMIT 1) tail ON true;

    FOR u IN 1 .. array_length(u_events, 1) LOOP
        code := 0;
        fresh := false;
        last_e := u_events[u];
        FOR e IN first_e .. last_e LOOP
            i := e_ident[e];
            x := x_event[i];
            IF x IS NOT NULL THEN
                IF e_body[x] <> e_body[e] OR c_stream[e_claim[x]] <> c_stream[e_claim[e]] THEN
                    code := 1;
                END IF;
            ELSIF x_pos[i] IS NULL THEN
                fresh := true;
            ELSIF x_body[i] <> e_body[e] OR x_stream[i] <> s_id[c_stream[e_claim[e]]] THEN
                code := 1;
            END IF;
            IF code = 1 THEN
                o_reused[u] := e;
                EXIT;
            END IF;
        END LOOP;

        IF code = 0 AND fresh THEN
            FOR c IN first_c .. u_claims[u] LOOP
                s := c_stream[c];
                now_seq := s_seq[s];
                IF s_kind[s] <> c_kind[c] THEN
                    code := 2;
                    d_unit := d_unit || u; d_what := d_what || 3::smallint;
                    d_index := d_index || c; d_value := d_value || s_kind[s]::bigint;
                ELSIF c_expect[c] > 0 THEN
                    holds := CASE c_expect[c] WHEN 1 THEN now_seq IS NULL WHEN 2 THEN now_seq IS NOT NULL
                             ELSE now_seq IS NOT DISTINCT FROM c_seq[c] END;
                    IF NOT holds THEN
                        code := 2;
                        d_unit := d_unit || u; d_what := d_what || 1::smallint;
                        d_index := d_index || c; d_value := d_value || now_seq;
                    END IF;
                END IF;
            END LOOP;
            FOR c IN first_a .. u_subjects[u] LOOP
                now_seq := p_seq[a_pair[c]];
                holds := CASE a_expect[c] WHEN 0 THEN true WHEN 1 THEN now_seq IS NULL
                         ELSE now_seq IS NOT DISTINCT FROM a_seq[c] END;
                IF NOT holds THEN
                    code := 2;
                    d_unit := d_unit || u; d_what := d_what || 2::smallint;
                    d_index := d_index || c; d_value := d_value || now_seq;
                END IF;
            END LOOP;
            IF code = 0 THEN
                FOR c IN first_r .. u_requires[u] LOOP
                    i := r_ident[c];
                    IF NOT r_own[c] AND coalesce(s_id[c_stream[e_claim[x_event[i]]]], x_stream[i])
                                        IS DISTINCT FROM r_stream[c] THEN
                        code := 3;
                        d_unit := d_unit || u; d_what := d_what || 4::smallint;
                        d_index := d_index || c; d_value := d_value || NULL::bigint;
                    END IF;
                END LOOP;
            END IF;
        END IF;

        IF code = 0 THEN
            FOR e IN first_e .. last_e LOOP
                i := e_ident[e];
                x := x_event[i];
                IF x IS NOT NULL THEN
                    o_dup[e] := true;
                    o_pos[e] := o_pos[x];
                    o_seq[e] := o_seq[x];
                    o_at[e] := o_at[x];
                    o_chain[e] := o_chain[x];
                    CONTINUE;
                ELSIF x_pos[i] IS NOT NULL THEN
                    o_dup[e] := true;
                    o_pos[e] := x_pos[i];
                    o_seq[e] := x_seq[i];
                    o_at[e] := x_at[i];
                    o_chain[e] := x_chain[i];
                    CONTINUE;
                END IF;
                c := e_claim[e];
                s := c_stream[c];
                p := e_pair[e];
                IF s_kind[s] IS NULL THEN
                    s_seq[s] := 0;
                    s_kind[s] := c_kind[c];
                    s_chain[s] := zero;
                    new_stream := new_stream || s;
                    new_claim := new_claim || c;
                END IF;
                pos := pos + 1;
                at_us := greatest(now_us, at_us + 1);
                now_seq := s_seq[s] + 1;
                sha := sha256('\x02'::bytea || s_chain[s] || sha256(
                    leaf_start || uuid_send(i_id[i]) || uuid_send(s_id[s]) || int8send(now_seq)
                    || CASE WHEN p IS NULL THEN absent ELSE present || uuid_send(p_subject[p]) END
                    || int4send(octet_length(e_kind[e])) || convert_to(e_kind[e], 'UTF8')
                    || int2send(e_schema[e]) || int8send(at_us)
                    || CASE WHEN e_actor[e] IS NULL THEN absent ELSE present || uuid_send(e_actor[e]) END
                    || CASE WHEN e_device[e] IS NULL THEN absent ELSE present || uuid_send(e_device[e]) END
                    || sha256(convert_to(e_public[e], 'UTF8'))
                    || CASE WHEN e_sealed_hash[e] IS NULL THEN absent ELSE present || e_sealed_hash[e] END));
                s_seq[s] := now_seq;
                s_chain[s] := sha;
                IF p IS NOT NULL THEN
                    o_prev[e] := p_seq[p];
                    p_seq[p] := now_seq;
                END IF;
                x_event[i] := e;
                o_dup[e] := false;
                o_pos[e] := pos;
                o_seq[e] := now_seq;
                o_at[e] := at_us;
                o_chain[e] := sha;
                some_fresh := true;
            END LOOP;
        END IF;
        o_unit[u] := code;
        first_e := last_e + 1;
        first_c := u_claims[u] + 1;
        first_a := u_subjects[u] + 1;
        first_r := u_requires[u] + 1;
    END LOOP;

    IF NOT some_fresh THEN
        RETURN;
    END IF;
    INSERT INTO events (position, recorded_at, seq, stream, event_id, subject, actor, device, correlation,
                        causation, stream_kind, schema, kind, public, sealed_hash, body_hash, chain, content_hash)
    SELECT o_pos[n], o_at[n], o_seq[n], s_id[c_stream[e_claim[n]]], i_id[e_ident[n]], p_subject[e_pair[n]],
           e_actor[n], e_device[n], e_correlation[n], e_causation[n], s_kind[c_stream[e_claim[n]]], e_schema[n],
           e_kind[n], e_public[n], e_sealed_hash[n], e_body[n], o_chain[n], e_content_hash[n]
    FROM generate_series(1, events_n) n WHERE NOT o_dup[n];

    IF array_length(new_stream, 1) > 0 THEN
        INSERT INTO streams (stream, kind, epoch)
        SELECT s_id[n.stream], c_kind[n.claim], c_epoch[n.claim] FROM unnest(new_stream, new_claim) n(stream, claim);
    END IF;
    IF array_length(e_content, 1) > 0 THEN
        -- The same ciphertext may come again with another version: what is kept already has the same hash.
        INSERT INTO contents (stream, hash, bytes)
        SELECT s_id[c_stream[e_claim[n]]], e_content_hash[n], e_content[n]
        FROM generate_series(1, events_n) n WHERE NOT o_dup[n] AND e_content[n] IS NOT NULL
        ON CONFLICT (stream, hash) DO NOTHING;
    END IF;
    IF array_length(z_event, 1) > 0 THEN
        INSERT INTO event_sealed (event_id, subject, purpose, period, bytes)
        SELECT i_id[e_ident[z_event[n]]], z_subject[n], z_purpose[n], z_period[n], z_bytes[n]
        FROM generate_series(1, array_length(z_event, 1)) n WHERE NOT o_dup[z_event[n]];
    END IF;
END $$;

-- Pruning and purge: after their event stands in the log, the ciphertexts go.
CREATE FUNCTION erase_contents(of_stream uuid, hashes bytea[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '10s' AS $$
    WITH gone AS (DELETE FROM contents WHERE stream = of_stream AND hash = ANY (hashes) RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- A new life of a stream. Under the append lock, so that no batch stands on both sides of it.
CREATE FUNCTION renew_epoch(of_stream uuid, new_epoch bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '10s' AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(6003371234567890);
    UPDATE streams SET epoch = new_epoch WHERE stream = of_stream;
    RETURN FOUND;
END $$;

-- The server's role. A group: give it to the user that the server logs in as; the server takes it on by SET ROLE.
DO $$
BEGIN
    BEGIN
        CREATE ROLE lockstep_server NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;  -- roles belong to the whole cluster: another database's log has made it
    END;
    IF NOT pg_has_role(current_user, 'lockstep_server', 'MEMBER') THEN
        EXECUTE format('GRANT lockstep_server TO %I', current_user);
    END IF;
END $$;

GRANT USAGE ON SCHEMA public TO lockstep_server;
GRANT SELECT ON events, streams, event_sealed, contents, log_meta TO lockstep_server;
REVOKE ALL ON FUNCTION append_batch, erase_contents, renew_epoch, refuse_change FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_batch, erase_contents, renew_epoch TO lockstep_server;

-- The tables of later migrations (read models, credentials) are the server's to change.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO lockstep_server;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO lockstep_server;
