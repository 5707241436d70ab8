//! `--network` in both of its forms, and the flags that belong to the first network: `--ip`, `--network-alias` and
//! their like. Rule: Docker's "Connect a container to a network". Which of it is built is for the daemon to say.

use super::container::ContainerFlags;
use anyhow::{Result, bail};
use dhow_api::{EndpointIpamConfig, EndpointSettings, NetworkingConfig};

/// One `--network` value.
#[derive(Debug, Default, PartialEq)]
pub struct Attachment {
    /// The network.
    pub name: String,
    settings: EndpointSettings,
}

/// The network mode, and the settings of the networks where there are any.
pub fn parse(flags: &ContainerFlags) -> Result<(String, NetworkingConfig)> {
    let mut list = flags.network.iter().map(|text| attachment(text)).collect::<Result<Vec<_>>>()?;
    if list.is_empty() {
        list.push(Attachment { name: "default".into(), ..Attachment::default() });
    }
    let alone = list.len() == 1;
    own_flags(&mut list[0], flags)?;
    if list.iter().any(|a| a.name.trim().is_empty()) {
        bail!("no name set for network");
    }
    let mode = list[0].name.clone();
    let own = list.iter().filter(|a| user_defined(&a.name)).count();
    if own > 0 && own < list.len() {
        bail!("conflicting options: cannot attach both user-defined and non-user-defined network-modes");
    }
    let mut endpoints = std::collections::BTreeMap::new();
    for Attachment { name, settings } in list {
        if !user_defined(&name) {
            if settings.aliases.is_some() {
                bail!("network-scoped aliases are only supported for user-defined networks");
            }
            if settings.links.is_some() {
                bail!("links are only supported for user-defined networks");
            }
        }
        if alone && settings == EndpointSettings::default() {
            break;
        }
        if endpoints.contains_key(&name) {
            bail!("network {name:?} is specified multiple times");
        }
        endpoints.insert(name, Some(settings));
    }
    let networking = NetworkingConfig { endpoints_config: Some(endpoints).filter(|e| !e.is_empty()) };
    Ok((mode, networking))
}

fn user_defined(name: &str) -> bool {
    !matches!(name, "default" | "bridge" | "host" | "none") && !name.starts_with("container:")
}

/// `NAME`, or `name=NAME,ip=…,alias=…`.
pub fn attachment(text: &str) -> Result<Attachment> {
    let mut out = Attachment::default();
    if !text.contains('=') {
        out.name = text.to_owned();
        return Ok(out);
    }
    let mut ipam = EndpointIpamConfig::default();
    for field in text.split(',') {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => (key.trim().to_ascii_lowercase(), value.trim().to_owned()),
            _ => bail!("invalid field {field}"),
        };
        match key.as_str() {
            "name" => out.name = value,
            "alias" => out.settings.aliases.get_or_insert_default().push(value),
            "ip" => ipam.ipv4_address = value,
            "ip6" => ipam.ipv6_address = value,
            "mac-address" => out.settings.mac_address = mac(value)?,
            "link-local-ip" => ipam.link_local_ips.get_or_insert_default().push(value),
            "driver-opt" => match value.split_once('=') {
                Some((name, value)) if !name.is_empty() => {
                    out.settings.driver_opts.get_or_insert_default().insert(name.trim().into(), value.trim().into());
                }
                _ => bail!("invalid key value pair format in driver options"),
            },
            "gw-priority" => match value.parse() {
                Ok(priority) => out.settings.gw_priority = priority,
                Err(e) => bail!("invalid gw-priority ({value}): {e}"),
            },
            _ => bail!("invalid field key {key}"),
        }
    }
    if out.name.is_empty() {
        bail!("network name/id is not specified");
    }
    out.settings.ipam_config = Some(ipam).filter(|i| *i != EndpointIpamConfig::default());
    Ok(out)
}

/// The flags that stand beside `--network` are for the first one.
fn own_flags(first: &mut Attachment, flags: &ContainerFlags) -> Result<()> {
    let settings = &mut first.settings;
    if !flags.network_alias.is_empty() {
        if settings.aliases.is_some() {
            bail!("conflicting options: cannot specify both --network-alias and per-network alias");
        }
        settings.aliases = Some(flags.network_alias.clone());
    }
    let mut ipam = settings.ipam_config.take().unwrap_or_default();
    if let Some(ip) = &flags.ip {
        if !ipam.ipv4_address.is_empty() {
            bail!("conflicting options: cannot specify both --ip and per-network IPv4 address");
        }
        ipam.ipv4_address.clone_from(ip);
    }
    if let Some(ip) = &flags.ip6 {
        if !ipam.ipv6_address.is_empty() {
            bail!("conflicting options: cannot specify both --ip6 and per-network IPv6 address");
        }
        ipam.ipv6_address.clone_from(ip);
    }
    settings.ipam_config = Some(ipam).filter(|i| *i != EndpointIpamConfig::default());
    if let Some(address) = &flags.mac_address {
        if !settings.mac_address.is_empty() {
            bail!("conflicting options: cannot specify both --mac-address and per-network MAC address");
        }
        settings.mac_address = mac(address.clone())?;
    }
    Ok(())
}

/// Six or more groups of hexadecimal digits, as Docker's client wants them.
fn mac(text: String) -> Result<String> {
    let separator = if text.contains('-') { '-' } else { ':' };
    let groups: Vec<&str> = text.trim().split(separator).collect();
    let good = matches!(groups.len(), 6 | 8 | 20)
        && groups.iter().all(|g| g.len() == 2 && g.bytes().all(|b| b.is_ascii_hexdigit()));
    if good { Ok(text) } else { bail!("{text} is not a valid mac address") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(network: &[&str]) -> ContainerFlags {
        ContainerFlags { network: network.iter().map(|n| (*n).to_owned()).collect(), ..ContainerFlags::default() }
    }

    #[test]
    fn one_network_needs_no_settings() {
        for (words, mode) in [
            (&[][..], "default"),
            (&["host"], "host"),
            (&["container:web"], "container:web"),
            (&["name=bridge"], "bridge"),
            (&["mine"], "mine"),
        ] {
            let (got, networking) = parse(&flags(words)).unwrap();
            assert_eq!((got.as_str(), networking), (mode, NetworkingConfig::default()), "{words:?}");
        }
    }

    #[test]
    fn both_forms_give_the_same_settings() {
        let long = flags(&["name=mine,alias=a,ip=10.0.0.2,ip6=fd00::2,mac-address=02:42:0a:00:00:02"]);
        let mut short = flags(&["mine"]);
        short.network_alias = vec!["a".into()];
        (short.ip, short.ip6) = (Some("10.0.0.2".into()), Some("fd00::2".into()));
        short.mac_address = Some("02:42:0a:00:00:02".into());
        let (mode, networking) = parse(&long).unwrap();
        assert_eq!(parse(&short).unwrap(), (mode.clone(), networking.clone()));
        let settings = networking.endpoints_config.unwrap().remove("mine").unwrap().unwrap();
        assert_eq!((mode.as_str(), settings.aliases.unwrap()), ("mine", vec!["a".to_owned()]));
        assert_eq!(settings.ipam_config.unwrap().ipv6_address, "fd00::2");
    }

    #[test]
    fn several_networks_and_their_own_settings() {
        let list = flags(&["one", "name=two,driver-opt=com.example.x=1,gw-priority=-3"]);
        let (mode, networking) = parse(&list).unwrap();
        let endpoints = networking.endpoints_config.unwrap();
        assert_eq!((mode.as_str(), endpoints.len()), ("one", 2));
        let two = endpoints["two"].clone().unwrap();
        assert_eq!((two.gw_priority, two.driver_opts.unwrap()["com.example.x"].as_str()), (-3, "1"));
    }

    #[test]
    fn what_contradicts_itself_is_refused_in_dockers_words() {
        for (words, alias, want) in [
            (&["bridge", "mine"][..], None, "both user-defined and non-user-defined"),
            (&["mine", "mine"], None, "\"mine\" is specified multiple times"),
            (&[], Some("a"), "network-scoped aliases are only supported for user-defined networks"),
            (&["name=mine,alias=b"], Some("a"), "both --network-alias and per-network alias"),
            (&["name=mine,what=b"], None, "invalid field key what"),
            (&["ip=1.2.3.4"], None, "network name/id is not specified"),
            (&["name=mine,gw-priority=x"], None, "invalid gw-priority (x)"),
            (&["name=mine,mac-address=zz"], None, "zz is not a valid mac address"),
        ] {
            let mut flags = flags(words);
            flags.network_alias = alias.into_iter().map(str::to_owned).collect();
            assert!(parse(&flags).unwrap_err().to_string().contains(want), "{words:?}");
        }
    }
}
