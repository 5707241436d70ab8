//! `login` and `logout`: credentials are tried by the daemon, and kept or forgotten here.

use super::context::Context;
use super::credentials::{Credentials, Kept, Login, names, note_environment};
use super::interrupt::Leave;
use super::{output, prompt, remark, terminal};
use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde::Deserialize;
use std::io::Read as _;

/// A longer password is none.
const MAX_PASSWORD: u64 = 1024 * 1024;

/// Log in to a registry (Docker Hub without one)
#[derive(Parser)]
pub struct LoginArgs {
    /// Password or access token; it is better asked for, or given by --password-stdin
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password or access token from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Name of the user
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Host of the registry
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

/// Forget the credentials of a registry (Docker Hub without one)
#[derive(Parser, Debug)]
pub struct LogoutArgs {
    /// Host of the registry
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

/// What the daemon says of credentials.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Answer {
    #[serde(rename = "Status")]
    status: String,
    #[serde(rename = "IdentityToken")]
    identity_token: String,
}

/// `dhow login`.
pub fn login(context: &Context, args: LoginArgs) -> Result<i32> {
    check(&args)?;
    let password = match &args.password {
        Some(password) => {
            output::note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            password.clone()
        }
        None if args.password_stdin => of_standard_input()?,
        None => String::new(),
    };
    note_environment();
    let name = names::of_server(args.server.as_deref());
    let credentials = Credentials::of(&name);
    let given = args.username.clone().unwrap_or_default();
    let mut known = String::new();
    if given.is_empty() && password.is_empty() {
        // What can't be read is asked for.
        let mut before = credentials.get().unwrap_or_default();
        known.clone_from(&before.user);
        if !before.user.is_empty() && !before.password.is_empty() {
            before.server.clone_from(&name);
            before.identity_token.clear();
            if let Some(status) = with_known(context, &credentials, before)? {
                output::line(status);
                return Ok(0);
            }
        }
    }
    if (given.is_empty() || password.is_empty()) && !terminal::is_input() {
        bail!("Error: Cannot perform an interactive login from a non TTY device");
    }
    let login = asked(&given, password, &known, &name)?;
    let answer = authenticate(context, &login)?;
    keep(&credentials, login, &answer)?;
    output::line(answer.status);
    Ok(0)
}

/// Flags that contradict each other.
fn check(args: &LoginArgs) -> Result<()> {
    if args.password_stdin {
        if args.password.is_some() {
            bail!("conflicting options: cannot specify both --password and --password-stdin");
        }
        if args.username.is_none() {
            bail!("the --password-stdin option requires --username to be set");
        }
    }
    if args.username.as_ref().is_some_and(String::is_empty) {
        bail!("username is empty");
    }
    if args.password.as_ref().is_some_and(String::is_empty) {
        bail!("password is empty");
    }
    Ok(())
}

/// All of standard input, but for the end of its line.
fn of_standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(MAX_PASSWORD).read_to_string(&mut text).context("read the password")?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    if text.trim().is_empty() {
        bail!("password is empty");
    }
    Ok(text)
}

/// Tries what is kept already; what the daemon says if that still holds.
fn with_known(context: &Context, credentials: &Credentials, login: Login) -> Result<Option<String>> {
    output::note(format!("Authenticating with existing credentials... [Username: {}]", login.user));
    remark::on_stderr("To login with a different account, run 'dhow logout' followed by 'dhow login'");
    output::note("\n");
    match authenticate(context, &login) {
        Ok(answer) => {
            keep(credentials, login, &answer)?;
            Ok(Some(answer.status))
        }
        Err(error) => {
            let status = error.downcast_ref::<dhow_client::Error>().and_then(dhow_client::Error::status);
            output::note(match status {
                Some(401) => "Stored credentials invalid or expired".to_owned(),
                _ => format!("Login did not succeed, error: {error:#}"),
            });
            Ok(None)
        }
    }
}

const HUB_ACCOUNT: &str = "Log in with your Docker ID or email address to push and pull images from Docker Hub. If you don't have a Docker ID, head over to https://hub.docker.com/ to create one.";
const HUB_TOKEN: &str = "You can log in with your password or a Personal Access Token (PAT). Using a limited-scope PAT grants better security and is required for organizations using SSO. Learn more at https://docs.docker.com/go/access-tokens/\n";

/// What was not given is asked for.
fn asked(user: &str, password: String, known: &str, server: &str) -> Result<Login> {
    let mut user = user.trim().to_owned();
    if user.is_empty() {
        if server == names::HUB {
            output::line(HUB_ACCOUNT);
            output::line(HUB_TOKEN);
        }
        let known = known.trim();
        let question = if known.is_empty() { "Username: ".to_owned() } else { format!("Username ({known}): ") };
        user = prompt::ask(&question)?;
        if user.is_empty() {
            user = known.to_owned();
        }
        if user.is_empty() {
            bail!("Error: Non-null Username Required");
        }
    }
    let password = match password.trim() {
        "" => prompt::ask_secret("Password: ")?,
        given => given.to_owned(),
    };
    if password.is_empty() {
        bail!("Error: Password Required");
    }
    Ok(Login { user, password, server: server.to_owned(), ..Login::default() })
}

fn authenticate(context: &Context, login: &Login) -> Result<Answer> {
    let client = context.client();
    context.awake(&client)?;
    let _leave = Leave::when_interrupted(None)?;
    Ok(client.post("/auth", login)?)
}

/// Keeps what holds: the registry's token in place of the password, if it gave one.
fn keep(credentials: &Credentials, mut login: Login, answer: &Answer) -> Result<()> {
    if !answer.identity_token.is_empty() {
        login.password.clear();
        login.identity_token.clone_from(&answer.identity_token);
    }
    let kept = credentials.store(&login).map_err(|e| anyhow::anyhow!("Error saving credentials: {e:#}"))?;
    if kept == Kept::InFile {
        output::note(format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            credentials.file().display()
        ));
    }
    Ok(())
}

/// `dhow logout`.
pub fn logout(_: &Context, args: LogoutArgs) -> Result<i32> {
    note_environment();
    let server = args.server.as_deref().filter(|server| names::of_server(Some(server)) != names::HUB);
    let (shown, all) = match server {
        None => (names::HUB.to_owned(), vec![names::HUB.to_owned()]),
        Some(server) => {
            let host = names::host(server);
            // Under these names other clients, and Docker's of old, keep it.
            let mut all = vec![server.to_owned(), host.clone(), format!("http://{host}"), format!("https://{host}")];
            let mut seen = std::collections::HashSet::new();
            all.retain(|name| seen.insert(name.clone()));
            (host, all)
        }
    };
    output::line(format!("Removing login credentials for {shown}"));
    let failed: Vec<String> =
        all.iter().filter_map(|name| Some(format!("{name}: {:#}", Credentials::of(name).erase().err()?))).collect();
    if failed.len() == all.len() {
        output::note("WARNING: could not erase credentials:");
        failed.iter().for_each(|line| output::note(output::system_words(line)));
    }
    Ok(0)
}
