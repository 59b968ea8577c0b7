-- +goose Up

-- The lowest step that a program must know to work on this schema.
CREATE TABLE schema_compatibility (
    single boolean PRIMARY KEY DEFAULT true CONSTRAINT schema_compatibility_single CHECK (single),
    floor  integer NOT NULL
);
INSERT INTO schema_compatibility (floor) VALUES (1);

CREATE TABLE instance (
    single     boolean     PRIMARY KEY DEFAULT true CONSTRAINT instance_single CHECK (single),
    id         uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    seeded_at  timestamptz
);
INSERT INTO instance DEFAULT VALUES;

CREATE TABLE apps (
    id         uuid        CONSTRAINT apps_pkey PRIMARY KEY,
    slug       text        NOT NULL CONSTRAINT apps_slug_key UNIQUE,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Slugs that an app gave up, and that lead to it until another app takes them.
CREATE TABLE app_aliases (
    app_id uuid NOT NULL CONSTRAINT app_aliases_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    slug   text CONSTRAINT app_aliases_pkey PRIMARY KEY
);
CREATE INDEX app_aliases_app_id_idx ON app_aliases (app_id);

CREATE TABLE users (
    id         uuid        CONSTRAINT users_pkey PRIMARY KEY,
    name       text        NOT NULL,
    role       text        NOT NULL CONSTRAINT users_role_check CHECK (role IN ('owner', 'admin', 'member')),
    active     boolean     NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_name_key ON users (lower(name));

CREATE TABLE api_keys (
    id         uuid        CONSTRAINT api_keys_pkey PRIMARY KEY,
    user_id    uuid        NOT NULL CONSTRAINT api_keys_user_id_fkey REFERENCES users ON DELETE CASCADE,
    -- The only app it works for; null for all.
    app_id     uuid        CONSTRAINT api_keys_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    name       text        NOT NULL,
    hash       bytea       NOT NULL CONSTRAINT api_keys_hash_key UNIQUE
                           CONSTRAINT api_keys_hash_check CHECK (octet_length(hash) = 32),
    scopes     text[]      NOT NULL,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX api_keys_user_id_idx ON api_keys (user_id);
CREATE INDEX api_keys_app_id_idx ON api_keys (app_id) WHERE app_id IS NOT NULL;

CREATE TABLE domains (
    app_id     uuid        NOT NULL CONSTRAINT domains_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    id         uuid        CONSTRAINT domains_pkey PRIMARY KEY,
    host       text        NOT NULL CONSTRAINT domains_host_key UNIQUE
                           CONSTRAINT domains_host_check CHECK (host = lower(host)),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX domains_app_id_idx ON domains (app_id);

CREATE TABLE scripts (
    app_id     uuid        NOT NULL CONSTRAINT scripts_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    id         uuid        CONSTRAINT scripts_pkey PRIMARY KEY,
    name       text        NOT NULL,
    kind       text        NOT NULL CONSTRAINT scripts_kind_check CHECK (kind IN ('endpoint', 'module')),
    language   text        NOT NULL,
    version    integer     NOT NULL,
    source     text        NOT NULL,
    limits     jsonb       NOT NULL,
    -- The build; of modules, which run as part of endpoints, there is none.
    code       text,
    source_map bytea,
    hash       text,
    exports    text[]      NOT NULL DEFAULT '{}',
    imports    text[]      NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT scripts_name_key UNIQUE (app_id, name),
    CONSTRAINT scripts_app_id_id_key UNIQUE (app_id, id), -- for foreign keys that cannot leave the app
    CONSTRAINT scripts_build_check CHECK ((kind = 'endpoint') = (code IS NOT NULL))
);

CREATE TABLE script_versions (
    app_id     uuid        NOT NULL CONSTRAINT script_versions_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    script_id  uuid        NOT NULL,
    version    integer     NOT NULL,
    kind       text        NOT NULL,
    language   text        NOT NULL,
    source     text        NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text        NOT NULL,
    CONSTRAINT script_versions_pkey PRIMARY KEY (app_id, script_id, version),
    CONSTRAINT script_versions_script_id_fkey FOREIGN KEY (app_id, script_id) REFERENCES scripts (app_id, id) ON DELETE CASCADE
);

CREATE TABLE routes (
    app_id     uuid        NOT NULL CONSTRAINT routes_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    id         uuid        CONSTRAINT routes_pkey PRIMARY KEY,
    script_id  uuid        NOT NULL,
    method     text        NOT NULL,
    host       text        NOT NULL,
    path       text        NOT NULL,
    shape      text        NOT NULL, -- the path without the names of its parameters
    mode       text        NOT NULL CONSTRAINT routes_mode_check CHECK (mode IN ('sync', 'async')),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT routes_script_id_fkey FOREIGN KEY (app_id, script_id) REFERENCES scripts (app_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX routes_shape_key ON routes (app_id, method, lower(host), shape);
CREATE INDEX routes_script_id_idx ON routes (app_id, script_id);

-- Text in the C collation sorts by its bytes, the same on every machine.
CREATE TABLE kv_entries (
    app_id     uuid             NOT NULL CONSTRAINT kv_entries_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    collection text COLLATE "C" NOT NULL CONSTRAINT kv_entries_collection_check CHECK (collection <> ''),
    key        text COLLATE "C" NOT NULL CONSTRAINT kv_entries_key_check CHECK (key <> ''),
    value      jsonb            NOT NULL,
    version    bigint           NOT NULL,
    expires_at timestamptz,
    updated_at timestamptz      NOT NULL,
    CONSTRAINT kv_entries_pkey PRIMARY KEY (app_id, collection, key)
) WITH (fillfactor = 90); -- room to update an entry in its own page
CREATE INDEX kv_entries_expires_at_idx ON kv_entries (expires_at) WHERE expires_at IS NOT NULL;

-- Ids are UUIDv7, so that the primary key is in the order of time. Scripts are
-- named, not referenced: a record outlives its script.
CREATE TABLE executions (
    app_id         uuid        NOT NULL CONSTRAINT executions_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    id             uuid        NOT NULL,
    script_id      uuid        NOT NULL,
    script_name    text        NOT NULL,
    version        integer     NOT NULL,
    trigger        text        NOT NULL,
    request_id     text        NOT NULL,
    method         text        NOT NULL,
    path           text        NOT NULL,
    status         integer     NOT NULL,
    code           text        NOT NULL,
    started_at     timestamptz NOT NULL,
    duration_ns    bigint      NOT NULL,
    cpu_ns         bigint      NOT NULL,
    peak_memory    bigint      NOT NULL,
    lines          jsonb       NOT NULL,
    truncated      boolean     NOT NULL,
    error          jsonb,
    CONSTRAINT executions_pkey PRIMARY KEY (app_id, id)
);
