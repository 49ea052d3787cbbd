//! The server's role, in a database that was put back. A role is of the whole cluster and stands in no backup of one
//! database: in another cluster it is not there, and what it was granted was not granted again. Migrations that stand in
//! the backup are not applied a second time, so the owner makes up for them.

use sqlx::{Executor, PgConnection};

/// Whether the log's tables are there, and the role is not, or may not read them, or is not this user's to take on.
const LACKING: &str = "SELECT to_regclass('public.log_meta') IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_roles WHERE rolname = 'lockstep_server'
    AND has_table_privilege(oid, to_regclass('public.log_meta'), 'SELECT')
    AND pg_has_role(current_user, oid, 'MEMBER'))";

/// What migrations say about the role, for whatever of their tables and functions is there. One node at a time.
const AGAIN: &str = "SELECT pg_advisory_xact_lock(5713094846251);
DO $$
DECLARE found record;
BEGIN
    BEGIN
        CREATE ROLE lockstep_server NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
    END;
    IF NOT pg_has_role(current_user, 'lockstep_server', 'MEMBER') THEN
        EXECUTE format('GRANT lockstep_server TO %I', current_user);
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
