-- +goose Up

-- What scripts react to. A retry policy is max_attempts, backoff, base_ms, cap_ms.
CREATE TABLE triggers (
    app_id       uuid        NOT NULL CONSTRAINT triggers_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    id           uuid        CONSTRAINT triggers_pkey PRIMARY KEY,
    script_id    uuid        NOT NULL,
    kind         text        NOT NULL,
    filter       jsonb       NOT NULL,
    -- The filter as what an event is compared with; null: everything.
    place_like   text,
    name_like    text,
    ops          text[],
    enabled      boolean     NOT NULL,
    max_attempts smallint    NOT NULL,
    backoff      text        NOT NULL,
    base_ms      integer     NOT NULL,
    cap_ms       integer     NOT NULL,
    -- In whose name it runs; of a user who is gone, nothing runs.
    user_id      uuid        CONSTRAINT triggers_user_id_fkey REFERENCES users ON DELETE SET NULL,
    scopes       text[], -- null: all
    next_at      timestamptz, -- of schedules
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    CONSTRAINT triggers_script_id_fkey FOREIGN KEY (app_id, script_id) REFERENCES scripts (app_id, id) ON DELETE CASCADE
);
CREATE INDEX triggers_kind_idx ON triggers (app_id, kind);
CREATE INDEX triggers_next_at_idx ON triggers (next_at) WHERE enabled AND next_at IS NOT NULL;
CREATE INDEX triggers_script_id_idx ON triggers (app_id, script_id);
CREATE INDEX triggers_user_id_idx ON triggers (user_id);

-- One row for each delivery, due at the later of due_at and leased_until. Claiming
-- changes no indexed column, and a page has room for each of its rows twice, so that
-- it costs one small write next to the row. Columns of a fixed size come first.
-- Payloads and errors are json, not jsonb: nobody looks inside, and they may hold
-- U+0000.
CREATE TABLE outbox (
    app_id       uuid        NOT NULL CONSTRAINT outbox_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    id           bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT outbox_pkey PRIMARY KEY,
    due_at       timestamptz NOT NULL,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    at           timestamptz NOT NULL,
    attempt      smallint    NOT NULL DEFAULT 0,
    depth        smallint    NOT NULL,
    max_attempts smallint    NOT NULL,
    base_ms      integer     NOT NULL,
    cap_ms       integer     NOT NULL,
    event_id     uuid        NOT NULL,
    script_id    uuid        NOT NULL,
    trigger_id   uuid,
    user_id      uuid,
    cause_id     uuid,
    kind         text        NOT NULL,
    op           text        NOT NULL,
    backoff      text        NOT NULL,
    scopes       text[],
    payload      json        NOT NULL,
    last_error   json
) WITH (fillfactor = 50);
CREATE INDEX outbox_due_idx ON outbox (app_id, due_at, id);
CREATE INDEX outbox_event_id_idx ON outbox (event_id);

-- Deliveries that were given up.
CREATE TABLE dead_letters (
    app_id       uuid        NOT NULL CONSTRAINT dead_letters_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    id           uuid        NOT NULL,
    event_id     uuid        NOT NULL,
    trigger_id   uuid,
    script_id    uuid        NOT NULL,
    script_name  text        NOT NULL,
    kind         text        NOT NULL,
    op           text        NOT NULL,
    payload      json        NOT NULL,
    user_id      uuid,
    scopes       text[],
    depth        smallint    NOT NULL,
    cause_id     uuid,
    attempts     smallint    NOT NULL,
    max_attempts smallint    NOT NULL,
    backoff      text        NOT NULL,
    base_ms      integer     NOT NULL,
    cap_ms       integer     NOT NULL,
    at           timestamptz NOT NULL,
    reason       text        NOT NULL,
    last_error   json,
    died_at      timestamptz NOT NULL,
    resolution   text        NOT NULL DEFAULT '', -- empty: it waits
    note         text        NOT NULL DEFAULT '',
    resolved_at  timestamptz,
    resolved_by  text        NOT NULL DEFAULT '',
    CONSTRAINT dead_letters_pkey PRIMARY KEY (app_id, id)
);
CREATE INDEX dead_letters_died_at_idx ON dead_letters (died_at);
CREATE INDEX dead_letters_event_id_idx ON dead_letters (event_id);

-- Which event an execution was for.
ALTER TABLE executions
    ADD COLUMN event_id uuid,
    ADD COLUMN attempt  smallint NOT NULL DEFAULT 0,
    ADD COLUMN depth    smallint NOT NULL DEFAULT 0,
    ADD COLUMN cause_id uuid;
CREATE INDEX executions_event_id_idx ON executions (event_id) WHERE event_id IS NOT NULL;
