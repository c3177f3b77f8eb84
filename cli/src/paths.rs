//! Names of files and folders that several commands know.

/// In a data folder: the settings of its peer.
pub(crate) const CONFIG_FILE: &str = "config.toml";

/// Below COLIVING_HOME: what the last peer that ran was part of.
pub(crate) const NETWORK_FILE: &str = "network.toml";

/// Below COLIVING_HOME: the light peer of commands.
pub(crate) const LIGHT_FOLDER: &str = "light";
