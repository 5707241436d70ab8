//! The lists inside of a container's limits.

use dhow_api as api;
use dhow_engine::config as engine;

/// Declares a pair of functions between two structs with the same fields.
macro_rules! same_fields {
    ($($type:ident { $($field:ident),* } $to_engine:ident $to_api:ident;)*) => {$(
        pub(super) fn $to_engine(list: Option<Vec<api::$type>>) -> Vec<engine::$type> {
            let one = |api::$type { $($field),* }| engine::$type { $($field),* };
            list.unwrap_or_default().into_iter().map(one).collect()
        }
        pub(super) fn $to_api(list: Vec<engine::$type>) -> Vec<api::$type> {
            let one = |engine::$type { $($field),* }| api::$type { $($field),* };
            list.into_iter().map(one).collect()
        }
    )*};
}

same_fields! {
    WeightDevice { path, weight } weights_to_engine weights_to_api;
    ThrottleDevice { path, rate } throttles_to_engine throttles_to_api;
    DeviceMapping { path_on_host, path_in_container, cgroup_permissions } devices_to_engine devices_to_api;
    Ulimit { name, soft, hard } ulimits_to_engine ulimits_to_api;
}
