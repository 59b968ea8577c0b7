-- +goose Up

ALTER TABLE users
    -- The name as it is compared, without regard to case in any script. lower()
    -- knows only what the database's locale knows, and stands in for it where a
    -- program that does not know the column made the user.
    ADD COLUMN folded_name           text,
    ADD COLUMN password_hash         text,
    ADD COLUMN password_expires_at   timestamptz, -- of a one-time password
    ADD COLUMN invitation_hash       bytea CONSTRAINT users_invitation_hash_key UNIQUE
                                     CONSTRAINT users_invitation_hash_check CHECK (octet_length(invitation_hash) = 32),
    ADD COLUMN invitation_expires_at timestamptz,
    ADD COLUMN totp_key_id           text,
    ADD COLUMN totp_sealed           bytea,
    ADD COLUMN totp_in_force         boolean NOT NULL DEFAULT false,
    ADD COLUMN totp_step             bigint NOT NULL DEFAULT 0,
    ADD COLUMN last_login_at         timestamptz,
    ADD CONSTRAINT users_password_check CHECK (password_expires_at IS NULL OR password_hash IS NOT NULL),
    ADD CONSTRAINT users_invitation_check CHECK ((invitation_hash IS NULL) = (invitation_expires_at IS NULL)
                                                 AND (invitation_hash IS NULL OR password_hash IS NULL)),
    ADD CONSTRAINT users_totp_check CHECK ((totp_key_id IS NULL) = (totp_sealed IS NULL)
                                           AND (totp_sealed IS NOT NULL OR NOT totp_in_force));
DROP INDEX users_name_key;
CREATE UNIQUE INDEX users_name_key ON users (coalesce(folded_name, lower(name)));

CREATE TABLE recovery_codes (
    user_id uuid  NOT NULL CONSTRAINT recovery_codes_user_id_fkey REFERENCES users ON DELETE CASCADE,
    hash    bytea NOT NULL CONSTRAINT recovery_codes_hash_check CHECK (octet_length(hash) = 32),
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, hash)
);

CREATE TABLE sessions (
    id         uuid        CONSTRAINT sessions_pkey PRIMARY KEY,
    user_id    uuid        NOT NULL CONSTRAINT sessions_user_id_fkey REFERENCES users ON DELETE CASCADE,
    hash       bytea       NOT NULL CONSTRAINT sessions_hash_key UNIQUE
                           CONSTRAINT sessions_hash_check CHECK (octet_length(hash) = 32),
    created_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    address    text        NOT NULL,
    user_agent text        NOT NULL
);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);

ALTER TABLE api_keys
    ADD COLUMN last_used_at timestamptz,
    -- The key that it was made by, with which it goes.
    ADD COLUMN parent_id    uuid CONSTRAINT api_keys_parent_id_fkey REFERENCES api_keys ON DELETE CASCADE;
CREATE INDEX api_keys_parent_id_idx ON api_keys (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE app_members (
    app_id     uuid        NOT NULL CONSTRAINT app_members_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    user_id    uuid        NOT NULL CONSTRAINT app_members_user_id_fkey REFERENCES users ON DELETE CASCADE,
    role       text        NOT NULL CONSTRAINT app_members_role_check CHECK (role IN ('app_admin', 'editor', 'viewer')),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT app_members_pkey PRIMARY KEY (app_id, user_id)
);
CREATE INDEX app_members_user_id_idx ON app_members (user_id);

-- What happened to apps and users that may be gone: nothing is referenced.
CREATE TABLE audit_log (
    id        uuid        CONSTRAINT audit_log_pkey PRIMARY KEY,
    at        timestamptz NOT NULL,
    user_id   uuid,
    user_name text        NOT NULL,
    via       text        NOT NULL,
    address   text        NOT NULL,
    action    text        NOT NULL,
    app_id    uuid,
    app_slug  text        NOT NULL,
    target    text        NOT NULL
);

-- Variables, in the clear, and secrets, sealed.
CREATE TABLE app_env (
    app_id     uuid             NOT NULL CONSTRAINT app_env_app_id_fkey REFERENCES apps ON DELETE CASCADE,
    name       text COLLATE "C" NOT NULL,
    value      text,
    key_id     text,
    sealed     bytea,
    size       integer          NOT NULL, -- bytes of the value
    updated_at timestamptz      NOT NULL,
    CONSTRAINT app_env_pkey PRIMARY KEY (app_id, name),
    CONSTRAINT app_env_kind_check CHECK ((value IS NULL) = (sealed IS NOT NULL) AND (sealed IS NULL) = (key_id IS NULL))
);
