//! What `help` says that is about no verb in particular.

/// Every topic with its text. The exit codes are one more.
pub const ALL: &[(&str, &str)] = &[("json", JSON), ("environment", ENVIRONMENT)];

const JSON: &str = "\
With --json a command prints one JSON document on standard output: on one line in a pipe, indented on a terminal. \
watch, and generate with --count, print one a line. What asks for a file's bytes, a script or a page (file get, \
attachment get, export to -, completions, man, fixtures, help but for exit-codes) prints just that.

A command that fails ends with one more document on standard error, {\"error\": {\"code\", \"exit\", \"message\", \
\"advice\"}}, sometimes with further facts: exit is the exit code, and code its word in `lockstep help exit-codes`. \
resolve and file resolve print the sides before it, and with exit code 7 what was saved all the same has its document \
first. Warnings stay text, a line each; --quiet silences the rest, but for what a question or a wait depends on.

Fields may be added; those that are there keep their names and meanings.

  entry, id        an entry, as a UUID; every verb takes the beginning of one
  version          a version, as 64 hexadecimal digits
  sent             whether the server has it; false: it waits on this device
  divergent        whether another version stands beside it: lockstep resolve
  time             milliseconds since 1970, by the clock of the device that wrote; 0 of what was deleted or kept
  arrived          milliseconds since 1970, when the server took it
  at, …_at, last_seen
                   microseconds since 1970, by the server's clock; of alarms by this device's
  at of watch      RFC 3339, by this device's clock
";

const ENVIRONMENT: &str = "\
Other programs of the same user may read what stands in the environment; what comes by --password-stdin they may not.

  LOCKSTEP_HOME                profile directory, as --home
  LOCKSTEP_PASSWORD            the account's password
  LOCKSTEP_NEW_PASSWORD        the new one: passwd, recovery use
  LOCKSTEP_EARLIER_PASSWORD    that opens this device: login where the account has another one
  LOCKSTEP_CODE                a code of a second factor, or the word passkey
  LOCKSTEP_ARCHIVE_PASSWORD    the password of an archive: export, import
  LOCKSTEP_SERVER, LOCKSTEP_EMAIL, LOCKSTEP_INVITATION
                               as the options of register and login
  LOCKSTEP_ADMIN_URL           as --at of admin
  XDG_DATA_HOME                where the profile is without --home: lockstep in it
  VISUAL, EDITOR, BROWSER      programs that are started
  NO_COLOR                     no colours and no bold text
";
