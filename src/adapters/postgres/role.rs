//! The server's role, in a database that was put back. A role is of the whole cluster and stands in no backup of one
//! database: in another cluster it is not there, and what it was granted was not granted again. Migrations that stand in
//! the backup are not applied a second time, so the owner makes up for them.

use sqlx::{Executor, PgConnection};

/// Whether a role is this user's to take on. Since Postgres 16 who makes a role is a member of it that may only give it to
/// others, at first also to itself; before, nobody could be asked for more than being a member.
macro_rules! is_taken_on {
    ($role:literal) => {
        concat!(
            "pg_has_role(current_user, ",
            $role,
            ", CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)"
        )
    };
}

/// Whether the log's tables are there, and the role is not, or may not read them, or is not this user's to take on.
const LACKING: &str = concat!(
    "SELECT to_regclass('public.log_meta') IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_roles WHERE rolname = 'lockstep_server'
    AND has_table_privilege(oid, to_regclass('public.log_meta'), 'SELECT')
    AND ",
    is_taken_on!("oid"),
    ")"
);

/// Whether the role is this user's to take on.
const IS_TAKEN_ON: &str = concat!("SELECT ", is_taken_on!("'lockstep_server'"));

/// One node at a time.
const TAKE_ON: &str = "SELECT pg_advisory_xact_lock(5713094846251); GRANT lockstep_server TO CURRENT_USER";

/// What migrations say about the role, for whatever of their tables and functions is there. One node at a time.
const AGAIN: &str = "SELECT pg_advisory_xact_lock(5713094846251);
DO $$
DECLARE found record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lockstep_server') THEN
        BEGIN
            CREATE ROLE lockstep_server NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    FOR found IN
        SELECT relname AS name, relname IN ('events', 'streams', 'event_sealed', 'contents', 'log_meta') AS of_log
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname <> '_sqlx_migrations' AND pg_has_role(relowner, 'USAGE')
    LOOP
        EXECUTE format('GRANT %s ON public.%I TO lockstep_server',
            CASE WHEN found.of_log THEN 'SELECT' ELSE 'SELECT, INSERT, UPDATE, DELETE' END, found.name);
    END LOOP;
    FOR found IN
        SELECT oid::regprocedure AS name, proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        AND proname IN ('append_batch', 'erase_contents', 'renew_epoch', 'refuse_change', 'erase_sealed',
            'erase_sealed_before', 'rl_take')
    LOOP
        IF found.proname <> 'rl_take' THEN
            EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', found.name);
        END IF;
        IF found.proname <> 'refuse_change' THEN
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO lockstep_server', found.name);
        END IF;
    END LOOP;
END $$;
GRANT USAGE ON SCHEMA public TO lockstep_server;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO lockstep_server;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO lockstep_server";

/// Gives the role back what it had, where it lacks it. Before migrations, which grant it more.
///
/// # Errors
/// If the user may not make it, or does not own the tables.
pub(super) async fn give_back(owner: &mut PgConnection) -> Result<(), sqlx::Error> {
    if !sqlx::query_scalar(LACKING).fetch_one(&mut *owner).await? {
        return Ok(());
    }
    owner.execute(AGAIN).await?;
    tracing::info!("the database was put back without the role lockstep_server: it has its rights again");
    Ok(())
}

/// Lets the user take the role on, where it made it and may not yet. After migrations, of which the first makes it.
///
/// # Errors
/// If it is another's role, who has not given it to this user.
pub(super) async fn take_on(owner: &mut PgConnection) -> Result<(), sqlx::Error> {
    if !sqlx::query_scalar(IS_TAKEN_ON).fetch_one(&mut *owner).await? {
        owner.execute(TAKE_ON).await?;
    }
    Ok(())
}

/// The user; whether the role is there; whether the user may work as it; and whether it may make it or give it to itself.
const STANDS: &str = "SELECT current_user::text, role.oid IS NOT NULL,
    role.oid IS NOT NULL AND pg_has_role(own.oid, role.oid,
        CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END),
    own.rolsuper OR own.rolcreaterole OR (role.oid IS NOT NULL AND pg_has_role(own.oid, role.oid, 'MEMBER'))
    FROM pg_roles own LEFT JOIN pg_roles role ON role.rolname = 'lockstep_server' WHERE own.rolname = current_user";

/// Whether the role is there, before anything is made. A user who may work as it need not be one who makes roles.
///
/// # Errors
/// If the user may neither work as it nor make it.
pub(super) async fn is_there(owner: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (user, there, given, makes): (String, bool, bool, bool) =
        sqlx::query_as(STANDS).fetch_one(owner).await?;
    if given || makes { Ok(there) } else { Err(refused(&user)) }
}

/// Whether the user may take the role on, where nothing is brought up to date. Each connection of the pool does that as it
/// begins, and what it meets there is told as a database that does not answer.
///
/// # Errors
/// If it may not.
pub(super) async fn is_given(asking: &mut PgConnection) -> Result<(), sqlx::Error> {
    let (user, _, given, _): (String, bool, bool, bool) = sqlx::query_as(STANDS).fetch_one(asking).await?;
    if given { Ok(()) } else { Err(refused(&user)) }
}

/// What an administrator of the database has to say.
fn refused(user: &str) -> sqlx::Error {
    let user = user.replace('"', "\"\"");
    let why = format!(
        "the user of its URL may not work as lockstep_server: GRANT lockstep_server TO \"{user}\" (after CREATE ROLE \
         lockstep_server NOLOGIN, where it is not there)"
    );
    sqlx::Error::Configuration(why.into())
}
