//! The command line: what to run, and with which settings.

use chrono::{TimeDelta, Utc};
use clap::{Parser, Subcommand};
use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use swimcoach::access::{KeyId, Scope};
use swimcoach::admin::{self, NewKey};
use swimcoach::coach::SweepRequest;
use swimcoach::config::{RecordSettings, ServerSettings, Settings};
use swimcoach::identity::KeyRing;
use swimcoach::metadata::journal::Subject;
use swimcoach::metadata::snowflake::SnowflakeSessionStore;
use swimcoach::run::{self, Parts};
use swimcoach::upstream::{UpstreamError, UpstreamErrorKind};
use swimcoach::{doctor, telemetry, upstream};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Frames of a swimmer's video in, a technique analysis whose every claim cites frames out.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the whole service in memory, without any account or setting, on 127.0.0.1:8000
    Demo {
        /// The port to listen on
        #[arg(long, default_value_t = 8000)]
        port: u16,
    },
    /// Runs the service with the settings of the environment and of .env
    Serve,
    /// Makes the tables and views of the records in Snowflake that are missing; may be repeated
    Migrate {
        /// Only names what would be applied
        #[arg(long)]
        dry_run: bool,
    },
    /// Checks storage, records and the model for real and says which setting is wrong
    Doctor,
    /// Removes what is to be kept no longer: sessions that have expired, and what failed uploads left behind
    Sweep {
        /// Only names what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Leaves uploads without a record alone that are younger, in minutes
        #[arg(long, default_value_t = 60)]
        older_than_minutes: u32,
        /// Removes frames although the records know no session in storage at all
        #[arg(long)]
        records_are_empty: bool,
    },
    /// Makes, shows, replaces or revokes API keys, in the records that the settings name
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Shows or sets the rules by which the bucket itself removes what is too old
    Lifecycle {
        #[command(subcommand)]
        command: LifecycleCommand,
    },
    /// Shows, sends or gives up the writes that wait on this machine because Snowflake was down
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Asks a running service on this machine whether it is ready; for container health checks
    Health,
}

#[derive(Debug, Subcommand)]
enum LifecycleCommand {
    /// Shows the rules of the bucket, and whether they are as `apply` would set them
    Show,
    /// Sets ours, and keeps the others as they are
    Apply {
        /// Only tells what would be set
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Shows what waits of which session or charge, without contents; the service may be running
    List,
    /// Sends everything that waits, also what Snowflake has refused before; the service must not be running
    Drain,
    /// Removes for good what waits of one session or charge, and says what is lost; the service must not be running
    Drop {
        /// The session or charge, as `list` shows it
        about: Subject,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Makes a key and shows it, this once
    Create {
        /// For whom: keys of one owner see the same sessions
        #[arg(long)]
        owner: String,
        /// What it is for
        #[arg(long, default_value = "")]
        name: String,
        /// What it may do: read, upload, ask, delete, export, impersonate; may be repeated [default: all but impersonate]
        #[arg(long = "scope")]
        scopes: Vec<Scope>,
        /// For how many days it counts [default: without an end]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3650))]
        expires_in_days: Option<u32>,
    },
    /// Shows every key, without secrets
    List,
    /// Makes a key in the place of another
    Rotate {
        /// The key, as `list` shows it
        id: KeyId,
        /// How many hours the old one counts longer
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=8760))]
        grace_hours: u32,
    },
    /// Makes a key count no more
    Revoke {
        /// The key, as `list` shows it
        id: KeyId,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    match run(command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            let _closed = writeln!(io::stderr(), "swimcoach: {}", upstream::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Runs one command; says whether all is well.
async fn run(command: Command) -> Result<bool, Box<dyn Error>> {
    match command {
        Command::Demo { port } => demo(port).await.map(|()| true),
        Command::Serve => {
            let settings = environment()?;
            let listener = run::listen(&settings).await?;
            serve(settings, listener).await.map(|()| true)
        }
        Command::Migrate { dry_run } => migrate(environment()?, dry_run).await.map(|()| true),
        Command::Doctor => {
            let settings = environment()?;
            let parts = Parts::build_beside(&settings).await?;
            Ok(doctor::examine(&settings, &parts, &mut io::stdout()).await?)
        }
        Command::Sweep { dry_run, older_than_minutes, records_are_empty } => {
            let horizon = Utc::now() - TimeDelta::minutes(older_than_minutes.into());
            sweep(environment()?, SweepRequest { dry_run, horizon, records_are_empty }).await
        }
        Command::Lifecycle { command: LifecycleCommand::Show } => lifecycle(environment()?, None).await,
        Command::Lifecycle { command: LifecycleCommand::Apply { dry_run } } => {
            lifecycle(environment()?, Some(dry_run)).await
        }
        Command::Journal { command: JournalCommand::List } => {
            list_journal(environment()?).await.map(|()| true)
        }
        Command::Journal { command: JournalCommand::Drain } => drain_journal(environment()?).await,
        Command::Journal { command: JournalCommand::Drop { about } } => {
            drop_from_journal(environment()?, about).await
        }
        Command::Key { command } => key(environment()?, command).await.map(|()| true),
        Command::Health => health().await,
    }
}

async fn demo(port: u16) -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::demo()?;
    settings.server.port = port;
    let listener = run::listen(&settings).await?;
    writeln!(
        io::stdout(),
        "DEMO: frames and records are kept in memory and are gone when this ends; no model looks at the frames, so no \
         coaching is done.\nOpen http://{}/docs, or follow the README. Ctrl-C stops it.",
        listener.local_addr()?,
    )?;
    serve(settings, listener).await
}

async fn serve(settings: Settings, listener: TcpListener) -> Result<(), Box<dyn Error>> {
    telemetry::start(&settings.log)?;
    let stop = stop_on_signal()?;
    let address = listener.local_addr()?;
    let parts = Parts::build(&settings, address).await?;
    tracing::info!(%address, "listening on http://{address}");
    Ok(run::serve(listener, parts, &settings, stop).await?)
}

/// Says whether everything was removed that was to be.
async fn sweep(settings: Settings, request: SweepRequest) -> Result<bool, Box<dyn Error>> {
    telemetry::start(&settings.log)?;
    if matches!(settings.records, RecordSettings::InMemory) {
        return Err(
            "records are kept in memory, so every session in storage would look like one that failed; set \
                    SNOWFLAKE_ACCOUNT or DATABASE_URL to where the service keeps its records"
                .into(),
        );
    }
    let coach = Parts::build_beside(&settings).await?.coach(&settings);
    Ok(admin::sweep(&coach, request, &mut io::stdout()).await?)
}

async fn key(settings: Settings, command: KeyCommand) -> Result<(), Box<dyn Error>> {
    telemetry::start(&settings.log)?;
    if matches!(settings.records, RecordSettings::InMemory) {
        return Err("records are kept in memory, so a key would be gone at once; set SNOWFLAKE_ACCOUNT or DATABASE_URL \
                    to where the service keeps its records"
            .into());
    }
    let keys = KeyRing::new(Parts::build_beside(&settings).await?.sessions);
    let mut out = io::stdout();
    match command {
        KeyCommand::Create { owner, name, scopes, expires_in_days } => {
            let new = NewKey { owner, name, scopes, days: expires_in_days };
            admin::create_key(&keys, new, &mut out).await?;
        }
        KeyCommand::List => admin::list_keys(&keys, &mut out).await?,
        KeyCommand::Rotate { id, grace_hours } => {
            admin::rotate_key(&keys, &id, grace_hours, &mut out).await?;
        }
        KeyCommand::Revoke { id } => admin::revoke_key(&keys, &id, &mut out).await?,
    }
    Ok(())
}

async fn migrate(settings: Settings, dry_run: bool) -> Result<(), Box<dyn Error>> {
    telemetry::start(&settings.log)?;
    let mut out = io::stdout();
    let RecordSettings::Snowflake(snowflake) = &settings.records else {
        writeln!(out, "nothing to do: an embedded database brings its tables up to date when it is opened")?;
        return Ok(());
    };
    let store = SnowflakeSessionStore::connect(snowflake)?;
    let migrations = store.migrate(dry_run).await.map_err(|error| {
        let advice = doctor::advice(&settings, &error);
        format!("{}\n{advice}", upstream::chain(&error))
    })?;
    let verb = if dry_run { "would apply" } else { "applied" };
    for migration in &migrations {
        writeln!(out, "{verb} {:04} {}", migration.version, migration.name)?;
    }
    if migrations.is_empty() {
        writeln!(
            out,
            "nothing to do: the tables of {}.{} are up to date",
            snowflake.database, snowflake.schema
        )?;
    }
    Ok(())
}

/// Shows the bucket's rules, or sets them; says whether they are as they should be then.
async fn lifecycle(settings: Settings, apply: Option<bool>) -> Result<bool, Box<dyn Error>> {
    telemetry::start(&settings.log)?;
    let mut out = io::stdout();
    let Some(storage) = run::bucket(&settings)? else {
        writeln!(out, "there are no rules: frames are kept in memory")?;
        return Ok(true);
    };
    let advised = |error: UpstreamError| {
        let advice = match error.kind {
            UpstreamErrorKind::Unauthorized => {
                "the rules of a bucket are shown and set with a token that has Admin Read & Write".to_owned()
            }
            _ => doctor::advice(&settings, &error),
        };
        format!("{}\n{advice}", upstream::chain(&error))
    };
    let there = storage.lifecycle().await.map_err(advised)?;
    let wanted = there.with_ours(u16::try_from(settings.privacy.retention_days)?)?;
    let is_right = there.does_the_same_as(&wanted);
    write!(out, "{there}")?;
    match apply {
        _ if is_right => writeln!(out, "the rules are as they should be")?,
        None => write!(out, "`swimcoach lifecycle apply` would set:\n{wanted}")?,
        Some(true) => write!(out, "would set:\n{wanted}")?,
        Some(false) => {
            storage.put_lifecycle(&wanted).await.map_err(advised)?;
            write!(out, "set:\n{wanted}")?;
        }
    }
    Ok(is_right || apply.is_some())
}

async fn list_journal(settings: Settings) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    let Some(journal) = run::look_at_journal(&settings).await? else { return no_journal(&mut out) };
    writeln!(out, "{}", journal.backlog().await?)?;
    for waiting in journal.by_subject().await? {
        writeln!(out, "{waiting}")?;
    }
    Ok(())
}

/// Says whether everything arrived.
async fn drain_journal(settings: Settings) -> Result<bool, Box<dyn Error>> {
    telemetry::start(&settings.log)?;
    let mut out = io::stdout();
    let Some(drained) = run::drain_journal(&settings).await? else {
        return no_journal(&mut out).map(|()| true);
    };
    writeln!(out, "{} writes arrived", drained.arrived)?;
    if 0 < drained.left.waiting {
        writeln!(out, "{}; `swimcoach journal list` shows of which sessions", drained.left)?;
    }
    Ok(drained.left.waiting == 0)
}

/// Says whether anything waited of the session or charge.
async fn drop_from_journal(settings: Settings, about: Subject) -> Result<bool, Box<dyn Error>> {
    telemetry::start(&settings.log)?;
    let mut out = io::stdout();
    let Some(journal) = run::open_journal(&settings).await? else {
        return no_journal(&mut out).map(|()| true);
    };
    let given_up = journal.give_up(about).await?;
    match &given_up {
        Some(lost) => writeln!(out, "lost: {lost}")?,
        None => writeln!(out, "nothing waits of {about}")?,
    }
    Ok(given_up.is_some())
}

fn no_journal(out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    writeln!(out, "there is no journal: it is kept for records in Snowflake, unless SNOWFLAKE_JOURNAL=off")?;
    Ok(())
}

async fn health() -> Result<bool, Box<dyn Error>> {
    let address = ServerSettings::load(&variables()?)?.local_address();
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
    let answer = client.get(format!("http://{address}/health/ready")).send().await?;
    Ok(answer.status().is_success())
}

fn environment() -> Result<Settings, Box<dyn Error>> {
    Ok(Settings::load(&variables()?)?)
}

/// The variables of the environment, and of `.env` in this folder or one above it where there is one.
fn variables() -> Result<impl Fn(&str) -> Option<String>, Box<dyn Error>> {
    let file: HashMap<String, String> = match dotenvy::dotenv_iter() {
        Ok(lines) => {
            lines.collect::<Result<_, _>>().map_err(|error| format!(".env cannot be read: {error}"))?
        }
        Err(error) if error.not_found() => HashMap::new(),
        Err(error) => return Err(format!(".env cannot be read: {error}").into()),
    };
    Ok(move |name: &str| std::env::var(name).ok().or_else(|| file.get(name).cloned()))
}

/// A token that is cancelled by SIGTERM or Ctrl-C. Whoever sends a second one does not want to wait.
fn stop_on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if stopped.is_cancelled() {
                std::process::exit(1);
            }
            stopped.cancel();
        }
    });
    Ok(stop)
}
