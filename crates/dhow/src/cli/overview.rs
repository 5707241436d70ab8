//! The help of the whole program and of words that stand before commands, laid out as Docker's client does it. Pure; the
//! help of one command is made of its flags.

use super::commands::{COMMANDS, Command, FAMILIES};
use super::global;

/// The parts of the program that are no commands of the client.
const PARTS: &[(&str, &str)] = &[
    ("daemon", "The engine behind the socket; started by itself when a command finds none"),
    ("oci", "An OCI runtime with runc's command line"),
];

type Row = (&'static str, &'static str);

/// `dhow --help`.
pub fn all() -> String {
    let mut text =
        String::from("Usage:  dhow [OPTIONS] COMMAND\n\nRuns programs from images: isolated, limited and fast\n");
    let mut commands = short("Commands");
    commands.sort_unstable();
    let mut own: Vec<Row> = COMMANDS.iter().filter(|c| c.group == "Own").map(|c| (shortest(c), c.summary)).collect();
    own.extend(PARTS);
    own.sort_unstable();
    list(&mut text, "Common Commands", &short("Common"));
    list(&mut text, "Management Commands", FAMILIES);
    list(&mut text, "Commands", &commands);
    list(&mut text, "dhow's Own Commands", &own);
    text.push_str("\nGlobal Options:\n");
    text.push_str(global::HELP);
    text.push_str(
        "\nEnvironment: DHOW_HOST or DOCKER_HOST (unix:///PATH), DOCKER_CONTEXT, DOCKER_CONFIG, DOCKER_API_VERSION,\n\
         DOCKER_CUSTOM_HEADERS.\n\
         \nRun 'dhow COMMAND --help' for more information on a command.\n\
         \nTry it:\n  dhow run --rm dhow/hello                     a tiny program that says what happened\n  \
         dhow run --rm -it --rootfs /:O bash          this machine's own files, copy-on-write\n  \
         dhow run --rm -it alpine sh                  an image from a registry, fetched if it is not here\n  \
         dhow load -i FILE && dhow run -it IMAGE      an image from `docker save`\n",
    );
    text
}

/// `dhow FAMILY --help`.
pub fn of(family: &str) -> String {
    let summary = FAMILIES.iter().find(|(name, _)| *name == family).map_or("", |(_, summary)| summary);
    let below = |name: &&'static str| name.split_once(' ').filter(|(before, _)| *before == family).map(|(_, sub)| sub);
    // Of several names, the first stands for all: `ls` for `list` and `ps`.
    let mut rows: Vec<Row> =
        COMMANDS.iter().filter_map(|c| Some((c.names.iter().find_map(below)?, c.summary))).collect();
    rows.sort_unstable();
    let mut text = format!("Usage:  dhow {family} COMMAND\n\n{summary}\n");
    list(&mut text, "Commands", &rows);
    text.push_str(&format!("\nRun 'dhow {family} COMMAND --help' for more information on a command.\n"));
    text
}

/// The commands of a group that are written as one word, in the table's order.
fn short(group: &str) -> Vec<Row> {
    let rows = COMMANDS.iter().filter(|c| c.group == group).map(|c| (shortest(c), c.summary));
    rows.filter(|(name, _)| !name.contains(' ')).collect()
}

/// How a command is written in the fewest words.
fn shortest(command: &Command) -> &'static str {
    command.names.iter().copied().min_by_key(|name| name.contains(' ')).unwrap_or_default()
}

fn list(text: &mut String, title: &str, rows: &[Row]) {
    text.push_str(&format!("\n{title}:\n"));
    rows.iter().for_each(|(name, summary)| text.push_str(&format!("  {name:<11} {summary}\n")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_all_is_as_it_was_agreed_on() {
        assert_eq!(all(), include_str!("overview.golden"));
    }

    #[test]
    fn every_command_is_found_from_the_overview() {
        let all = all();
        for command in COMMANDS {
            let name = shortest(command);
            let listed = |text: &str, name: &str| text.lines().any(|l| l.starts_with(&format!("  {name} ")));
            let family = command.names.iter().find_map(|n| n.split_once(' '));
            assert!(!(name.contains(' ') && family.is_none()), "{name}");
            assert!(listed(&all, name) || family.is_some_and(|(f, _)| listed(&all, f)), "{name}");
            if let Some((family, sub)) = family {
                assert!(listed(&of(family), sub), "{family} {sub}");
            }
        }
    }

    #[test]
    fn the_help_of_a_family_is_docker_s_in_its_layout() {
        assert_eq!(
            of("builder"),
            "Usage:  dhow builder COMMAND\n\nManage the build cache\n\nCommands:\n  prune       Remove the build cache\n\n\
             Run 'dhow builder COMMAND --help' for more information on a command.\n"
        );
    }
}
