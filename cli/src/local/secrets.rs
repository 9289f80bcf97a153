//! Passwords of the database users of one local stack, made once and kept in a file that only its
//! owner may read. Postgres asks for them on loopback too: without, every user of the machine could
//! become the database's superuser, and through it run programs as the user that Postgres runs as.

use std::path::Path;

use anyhow::Context;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::local::data::write_private;

/// One password per database user. Hexadecimal, so that none needs quoting in a URL or a config
/// file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// The superuser, for set-up and replication slots only.
    pub superuser: String,
    /// The owner of the databases, who migrates them.
    pub owner: String,
    /// The replicas' way to the primary.
    pub replication: String,
    /// command-svc.
    pub command: String,
    /// The projector.
    pub projector: String,
    /// query-svc.
    pub query: String,
    /// `headwater status`, `tail` and `verify`.
    pub cli: String,
}

impl Secrets {
    /// Reads them, or makes new ones where the file is missing. Only a folder without nodes may
    /// lack it.
    pub fn load(path: &Path, is_new: bool) -> anyhow::Result<Secrets> {
        match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged; --wipe starts anew", path.display())),
            Err(_) if is_new => {
                let secrets = Secrets::random(&mut rand::rng());
                write_private(path, &serde_json::to_string_pretty(&secrets)?)?;
                Ok(secrets)
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "cannot read {}, which opens the databases; --wipe starts anew",
                    path.display()
                )
            }),
        }
    }

    fn random(random: &mut impl Rng) -> Secrets {
        let mut password = || format!("{:032x}", random.random::<u128>());
        Secrets {
            superuser: password(),
            owner: password(),
            replication: password(),
            command: password(),
            projector: password(),
            query: password(),
            cli: password(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn made_once_kept_private_and_not_remade_beside_data() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets.json");
        assert!(Secrets::load(&path, false).is_err());
        let made = Secrets::load(&path, true).expect("new ones");
        assert!(made == Secrets::load(&path, false).expect("the same"));
        assert!(made.owner != made.query);
        assert_eq!(path.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    }
}
