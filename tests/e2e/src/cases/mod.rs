//! All cases, by subject.

mod access;
mod again;
mod archive;
mod budget;
mod causes;
mod clients;
mod completion;
mod contexts;
mod crash;
mod df;
mod docker_registries;
mod doctor;
mod errors;
mod events;
mod exec;
mod flags;
mod health;
mod hostile_pushes;
mod hostile_registry;
mod images;
mod images_ls;
mod interop;
mod interrupted;
mod interrupted_pushes;
mod layers;
mod layout;
mod lifecycle;
mod limits;
mod log_files;
mod log_segments;
mod logdrivers;
mod logins;
mod logs;
mod making;
mod midway;
mod network;
mod overlay;
mod parity;
mod pause;
mod prune;
mod pull;
mod push;
mod recovery;
mod registries;
mod registry_cli;
mod remote;
mod restarts;
mod run;
mod security;
mod soak;
mod space;
mod stats;
mod stop;
mod stuck;
mod terminal;
mod top;
mod update;

use crate::runner::Case;

/// Lists the cases of a module.
macro_rules! cases {
    ($module:literal: $($name:ident),* $(,)?) => {
        pub fn cases() -> Vec<crate::runner::Case> {
            vec![$(crate::runner::Case { name: concat!($module, "::", stringify!($name)), run: $name }),*]
        }
    };
}
pub(crate) use cases;

/// Every case there is.
pub fn all() -> Vec<Case> {
    [
        run::cases(),
        events::cases(),
        exec::cases(),
        flags::cases(),
        health::cases(),
        completion::cases(),
        contexts::cases(),
        lifecycle::cases(),
        pause::cases(),
        stop::cases(),
        stuck::cases(),
        access::cases(),
        again::cases(),
        top::cases(),
        stats::cases(),
        update::cases(),
        logdrivers::cases(),
        logs::cases(),
        log_segments::cases(),
        log_files::cases(),
        images::cases(),
        images_ls::cases(),
        layers::cases(),
        layout::cases(),
        overlay::cases(),
        archive::cases(),
        registries::cases(),
        registry_cli::cases(),
        remote::cases(),
        logins::cases(),
        hostile_registry::cases(),
        hostile_pushes::cases(),
        interrupted::cases(),
        pull::cases(),
        interrupted_pushes::cases(),
        interop::cases(),
        docker_registries::cases(),
        making::cases(),
        prune::cases(),
        push::cases(),
        df::cases(),
        doctor::cases(),
        limits::cases(),
        security::cases(),
        terminal::cases(),
        network::cases(),
        recovery::cases(),
        midway::cases(),
        restarts::cases(),
        crash::cases(),
        soak::cases(),
        space::cases(),
        budget::cases(),
        errors::cases(),
        causes::cases(),
        clients::cases(),
        parity::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
