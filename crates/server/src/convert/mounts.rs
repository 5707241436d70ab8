//! `HostConfig.Mounts`, and the mounts that a container has.

use super::{or_null, refuse};
use dhow_api as api;
use dhow_engine::{config as engine, view};
use dhow_types::{Error, Result};

/// Maps one mount. Options of another type than the mount's are an error, as with Docker.
pub(super) fn to_engine(mount: api::Mount) -> Result<engine::MountConfig> {
    let api::Mount {
        r#type: kind,
        source,
        target,
        read_only,
        consistency,
        bind_options,
        volume_options,
        image_options,
        tmpfs_options,
        cluster_options,
    } = mount;
    for built_elsewhere in ["image", "cluster", "npipe"] {
        refuse(
            &format!("HostConfig.Mounts of type {built_elsewhere}"),
            kind == built_elsewhere,
            "use bind, volume or tmpfs",
        )?;
    }
    for (options, given, belongs_to) in [
        ("BindOptions", bind_options.is_some(), "bind"),
        ("VolumeOptions", volume_options.is_some(), "volume"),
        ("ImageOptions", image_options.is_some(), "image"),
        ("TmpfsOptions", tmpfs_options.is_some(), "tmpfs"),
        ("ClusterOptions", cluster_options.is_some(), "cluster"),
    ] {
        if given && kind != belongs_to {
            return Err(Error::invalid(format!(
                "invalid mount config for type {kind:?}: field {options} must not be specified"
            )));
        }
    }
    Ok(engine::MountConfig {
        kind,
        source,
        target,
        read_only,
        consistency,
        bind: bind_options.map(|options| {
            let api::BindOptions {
                propagation,
                non_recursive,
                create_mountpoint,
                read_only_non_recursive,
                read_only_force_recursive,
            } = options;
            engine::BindOptions {
                propagation,
                non_recursive,
                create_mountpoint,
                read_only_non_recursive,
                read_only_force_recursive,
            }
        }),
        volume: volume_options.map(|options| {
            let api::VolumeOptions { no_copy, labels, subpath, driver_config } = options;
            let api::DriverConfig { name, options } = driver_config.unwrap_or_default();
            engine::VolumeOptions {
                no_copy,
                labels: labels.unwrap_or_default(),
                driver: name,
                driver_options: options.unwrap_or_default(),
                subpath,
            }
        }),
        tmpfs: tmpfs_options.map(|options| {
            let api::TmpfsOptions { size_bytes, mode, options } = options;
            engine::TmpfsOptions { size_bytes, mode, options: options.unwrap_or_default() }
        }),
    })
}

/// A mount as it was asked for.
pub(super) fn to_api(mount: engine::MountConfig) -> api::Mount {
    let engine::MountConfig { kind, source, target, read_only, consistency, bind, volume, tmpfs } = mount;
    api::Mount {
        r#type: kind,
        source,
        target,
        read_only,
        consistency,
        bind_options: bind.map(|options| {
            let engine::BindOptions {
                propagation,
                non_recursive,
                create_mountpoint,
                read_only_non_recursive,
                read_only_force_recursive,
            } = options;
            api::BindOptions {
                propagation,
                non_recursive,
                create_mountpoint,
                read_only_non_recursive,
                read_only_force_recursive,
            }
        }),
        volume_options: volume.map(|options| {
            let engine::VolumeOptions { no_copy, labels, driver, driver_options, subpath } = options;
            api::VolumeOptions {
                no_copy,
                labels: or_null(labels),
                subpath,
                driver_config: or_null(api::DriverConfig { name: driver, options: or_null(driver_options) }),
            }
        }),
        image_options: None,
        tmpfs_options: tmpfs.map(|options| {
            let engine::TmpfsOptions { size_bytes, mode, options } = options;
            api::TmpfsOptions { size_bytes, mode, options: or_null(options) }
        }),
        cluster_options: None,
    }
}

/// A mount as it is.
pub(super) fn point(mount: view::MountPoint) -> api::MountPoint {
    let view::MountPoint { kind, name, source, destination, driver, mode, rw, propagation } = mount;
    api::MountPoint { r#type: kind, name, source, destination, driver, mode, rw, propagation }
}
