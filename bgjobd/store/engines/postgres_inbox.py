"""What an application submits in its own transaction, in PostgreSQL: the table, the function that writes it, who may.

The function takes no lock of ours and writes nothing else; whether the job may be, a daemon says afterwards.
"""

from __future__ import annotations

from typing import Final

SUBMITTER: Final = "bgjobd_submitter"
"""The role that may call it, and nothing else; made where the daemon's own role may make one."""

_LONGEST_NAME: Final = 255
_MOST_BYTES: Final = 16 * 1024 * 1024
_NAME: Final = "'^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)*$'"

INBOX: Final = """
    inbox (id bigint PRIMARY KEY, class_name {text} NOT NULL, method_name {text} NOT NULL, parameters {text} NOT NULL,
        options {text} NOT NULL, role {text} NOT NULL, sent_at {text} NOT NULL)
"""
"""The table, as the schema's texts are: what is here is no job yet; `role` is whose session it came from."""

FUNCTION: Final = f"""
    CREATE FUNCTION submit(class_name text, method_name text, parameters jsonb DEFAULT '{{}}',
        options jsonb DEFAULT '{{}}') RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, bgjobd, pg_temp AS $$
    DECLARE given bigint;
    BEGIN
        IF (class_name COLLATE "C" ~ {_NAME} AND length(class_name) <= {_LONGEST_NAME}) IS NOT TRUE THEN
            RAISE EXCEPTION 'bgjobd: this is no name of a class' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF (method_name COLLATE "C" ~ {_NAME} AND length(method_name) <= {_LONGEST_NAME}) IS NOT TRUE THEN
            RAISE EXCEPTION 'bgjobd: this is no name of a method' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF (jsonb_typeof(parameters) = 'object' AND jsonb_typeof(options) = 'object') IS NOT TRUE THEN
            RAISE EXCEPTION 'bgjobd: parameters and options have to be objects'
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        IF octet_length(parameters::text) + octet_length(options::text) > {_MOST_BYTES} THEN
            RAISE EXCEPTION 'bgjobd: parameters and options may take {_MOST_BYTES} bytes'
                USING ERRCODE = 'program_limit_exceeded';
        END IF;
        given := take_ids('bgjobd.job_ids', 1) + 1;
        INSERT INTO bgjobd.inbox VALUES (given, class_name, method_name, parameters::text, options::text, session_user,
            to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
        PERFORM pg_notify('bgjobd', '{{"by": "submit", "look": true}}');
        RETURN given;
    END $$
"""

RIGHTS: Final = (
    "REVOKE ALL ON FUNCTION submit(text, text, jsonb, jsonb) FROM PUBLIC",
    f"""
    DO $$ BEGIN
        IF to_regrole('{SUBMITTER}') IS NULL
            AND (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            BEGIN
                CREATE ROLE {SUBMITTER} NOLOGIN;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- by another daemon just now
            END;
        END IF;
        IF to_regrole('{SUBMITTER}') IS NOT NULL THEN
            GRANT USAGE ON SCHEMA bgjobd TO {SUBMITTER};
            GRANT EXECUTE ON FUNCTION submit(text, text, jsonb, jsonb) TO {SUBMITTER};
        END IF;
    END $$
    """,
)
