//! The networks that are always there, to read only.

use super::filters;
use crate::api::Call;
use crate::convert::network::network;
use crate::reply::Reply;
use dhow_api::Filters;
use dhow_engine::Engine;
use dhow_engine::view::NetworkInfo;
use dhow_types::{Error, Result};

/// `GET /networks`
pub(crate) async fn list(engine: &Engine, call: Call) -> Result<Reply> {
    let filters = filters(&call)?;
    let networks = engine.networks().await?;
    let shown = networks.into_iter().filter_map(|info| match lets_through(&filters, &info) {
        Ok(true) => Some(Ok(network(info, false))),
        Ok(false) => None,
        Err(e) => Some(Err(e)),
    });
    Ok(Reply::json(&shown.collect::<Result<Vec<_>>>()?))
}

/// `GET /networks/{id}`
pub(crate) async fn inspect(engine: &Engine, call: Call) -> Result<Reply> {
    if let Some(scope) = call.query.get("scope").filter(|scope| *scope != "local") {
        return Err(Error::not_found(format!("network {} not found in scope {scope}", call.name)));
    }
    let networks = engine.networks().await?;
    match networks.into_iter().find(|info| info.name == call.name || info.id.starts_with(&call.name)) {
        Some(info) => Ok(Reply::json(&network(info, true))),
        None => Err(Error::not_found(format!("network {} not found", call.name))),
    }
}

fn lets_through(filters: &Filters, info: &NetworkInfo) -> Result<bool> {
    const KNOWN: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];
    if let Some(unknown) = filters.unknown(&KNOWN) {
        return Err(Error::invalid(format!("invalid filter '{unknown}': use one of {}", KNOWN.join(", "))));
    }
    let any = |filter: &str, fits: &dyn Fn(&str) -> bool| !filters.has(filter) || filters.values(filter).any(fits);
    Ok(any("driver", &|driver| info.driver == driver)
        && any("id", &|id| info.id.starts_with(id))
        && any("name", &|name| info.name.contains(name))
        && any("scope", &|scope| scope == "local")
        && any("type", &|kind| kind == "builtin")
        // These networks are never unused, and have no labels.
        && any("dangling", &|dangling| matches!(dangling, "false" | "0"))
        && !filters.has("label"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_choose_networks() {
        let bridge =
            NetworkInfo { id: "ab12".into(), name: "bridge".into(), driver: "bridge".into(), ..Default::default() };
        for (filters, shown) in [
            ("", true),
            (r#"{"name":["brid"]}"#, true),
            (r#"{"name":["host"]}"#, false),
            (r#"{"id":["ab"],"driver":["null","bridge"]}"#, true),
            (r#"{"type":["custom"]}"#, false),
            (r#"{"dangling":["true"]}"#, false),
            (r#"{"label":["a"]}"#, false),
        ] {
            assert_eq!(lets_through(&Filters::parse(filters).unwrap(), &bridge).unwrap(), shown, "{filters}");
        }
        assert!(lets_through(&Filters::parse(r#"{"colour":["red"]}"#).unwrap(), &bridge).is_err());
    }
}
