//! A folder of manifests, read and compiled: what `serve --manifests DIR` serves.
//!
//! Secrets come from the folder, then from those made on an earlier run. A tenant without one gets one made, and one
//! that was made is rotated where its tenant asks for it, but only when everything else is right: an error changes
//! nothing. What is made takes its place in [`Loaded::publish`], once its tokens are accepted.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    ServerConfig,
    admit::admit,
    compile::compile,
    database::{self, Storage},
    findings::{self, Finding, has_errors},
    made::Made,
    objects::{Located, Object, Objects, SecretIndex},
    tokens::{self, Prepared},
    validate::{self, File},
};
use crate::crd::ScimEndpoint;

/// What to load.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of manifests, or one file.
    pub manifests: PathBuf,
    /// The data folder; made Secrets are under it.
    pub data: PathBuf,
    /// `NAMESPACE/NAME` of the endpoint to serve; needed when there are several.
    pub endpoint: Option<String>,
}

/// A folder that compiles.
#[derive(Debug)]
pub struct Loaded {
    /// What to serve.
    pub config: ServerConfig,
    /// Where data is kept; or why that cannot be known, which matters to whoever is not told otherwise.
    pub storage: Result<Storage, Vec<Finding>>,
    /// The bearer Secrets that were made just now.
    pub generated: Vec<GeneratedSecret>,
    /// The tokens that are being rotated: the old one still works.
    pub rotated: Vec<RotatedToken>,
    /// When to load again at the latest, although no manifest was changed: a token is to be rotated, or ends.
    pub next: Option<Timestamp>,
    /// What lies ready to be put in place.
    prepared: Vec<Prepared>,
    /// What is probably not meant, but is no error.
    pub warnings: Vec<Finding>,
}

impl Loaded {
    /// Puts the Secrets that were made or rotated in place. Call when the tokens in `config` are accepted: from now on
    /// a person can find them.
    pub fn publish(&mut self) -> Result<(), LoadError> {
        for prepared in self.prepared.drain(..) {
            prepared
                .publish()
                .map_err(|error| LoadError::Unwritable { path: prepared.file.clone(), error })?;
        }
        Ok(())
    }

    /// Whether [`Self::publish`] has something to do.
    #[must_use]
    pub fn is_unpublished(&self) -> bool {
        !self.prepared.is_empty()
    }
}

/// A token that was replaced, and still works. In the file the new one stands after `  token: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotatedToken {
    /// `NAMESPACE/NAME` of the tenant.
    pub tenant: String,
    /// The tenant's path.
    pub tenant_path: String,
    /// The Secret manifest.
    pub token_file: PathBuf,
    /// Until when the old token works.
    pub previous_expires_at: Timestamp,
    /// It was replaced just now, not on an earlier load.
    pub just_now: bool,
}

/// A bearer Secret that was made. In its file the token stands after `  token: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedSecret {
    /// `NAMESPACE/NAME` of the tenant.
    pub tenant: String,
    /// The tenant's path.
    pub tenant_path: String,
    /// The Secret manifest.
    pub token_file: PathBuf,
}

/// Why a folder cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The manifests are wrong; errors are among the findings.
    #[error("{}", render(.0))]
    Findings(Vec<Finding>),
    /// A file or folder cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A made Secret cannot be written.
    #[error("cannot write {}: {error}", .path.display())]
    Unwritable {
        /// The Secret manifest.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is nothing to serve.
    #[error("there is no ScimEndpoint in {}: add one, or name the folder that has it", .0.display())]
    NoEndpoint(PathBuf),
    /// One server serves one endpoint.
    #[error("there are {} ScimEndpoints: choose one with --endpoint {}", .0.len(), .0.join(" or --endpoint "))]
    SeveralEndpoints(Vec<String>),
    /// The endpoint that was asked for is not there.
    #[error("there is no ScimEndpoint {asked}; there is {}", .there.join(" and "))]
    UnknownEndpoint {
        /// What was asked for.
        asked: String,
        /// What there is.
        there: Vec<String>,
    },
}

fn render(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Reads, checks and compiles a folder.
pub fn load(options: &Options) -> Result<Loaded, LoadError> {
    load_files(options, &read_files(options)?, Timestamp::now())
}

/// All manifests of [`Options`]: those of the folder, then the Secrets made earlier.
pub(super) fn read_files(options: &Options) -> Result<Vec<File>, LoadError> {
    let mut files = collect(&options.manifests)?;
    let made = tokens::folder(&options.data);
    if made.is_dir() {
        // The data folder may be inside the folder of manifests.
        let mut known: HashSet<String> = files.iter().map(|file| file.name.clone()).collect();
        files.extend(collect(&made)?.into_iter().filter(|file| known.insert(file.name.clone())));
    }
    Ok(files)
}

/// Checks and compiles manifests that were read.
pub(super) fn load_files(options: &Options, files: &[File], now: Timestamp) -> Result<Loaded, LoadError> {
    let (mut objects, mut findings) = validate::read(files);
    // A Secret of the folder stands before one made earlier, which is no duplicate but out of use.
    let made = tokens::folder(&options.data).display().to_string();
    let mut seen = HashSet::new();
    objects.secrets.retain(|secret| {
        let is_made = secret.place("").is_some_and(|place| place.file.starts_with(&made));
        seen.insert(secret.object.key()) || !is_made
    });
    findings.extend(validate::across(&objects, Some(&made)));
    findings::sort(&mut findings);
    if has_errors(&findings) {
        return Err(LoadError::Findings(findings));
    }
    let endpoint = choose(options, &objects)?;
    let admitted = admit(endpoint, &objects.tenants, &objects.namespaces).into_iter();
    let tenants: Vec<_> =
        admitted.filter(|admission| admission.refusal.is_none()).map(|admission| admission.tenant).collect();
    let mut secrets = objects.secrets.clone();
    let made = Made::make(&options.data, now, &tenants, &objects, &mut secrets)?;
    let (config, _) =
        compile(endpoint, &objects.tenants, &secrets, &objects.namespaces).map_err(LoadError::Findings)?;
    let Made { prepared, generated, rotated, next, warnings } = made;
    findings.extend(warnings);
    let storage = database::storage(endpoint, &SecretIndex::new(&objects.secrets));
    Ok(Loaded { config, storage, generated, rotated, next, prepared, warnings: findings })
}

fn choose<'a>(options: &Options, objects: &'a Objects) -> Result<&'a Located<ScimEndpoint>, LoadError> {
    let there = || objects.endpoints.iter().map(|endpoint| endpoint.object.key()).collect::<Vec<_>>();
    match (&options.endpoint, objects.endpoints.as_slice()) {
        (_, []) => Err(LoadError::NoEndpoint(options.manifests.clone())),
        (None, [endpoint]) => Ok(endpoint),
        (None, _) => Err(LoadError::SeveralEndpoints(there())),
        (Some(asked), endpoints) => endpoints
            .iter()
            .find(|endpoint| endpoint.object.key() == *asked)
            .ok_or_else(|| LoadError::UnknownEndpoint { asked: asked.clone(), there: there() }),
    }
}

/// The manifests at a path: the file, or every `*.yaml` and `*.yml` in the folder and below, in order of name.
///
/// Hidden entries are passed over: editors keep unfinished text there, and Kubernetes the targets of the links that
/// make up a mounted `ConfigMap`.
pub fn collect(path: &Path) -> Result<Vec<File>, LoadError> {
    let mut files = Vec::new();
    let mut visited = HashSet::new();
    walk(path, true, &mut visited, &mut files)?;
    Ok(files)
}

fn walk(
    path: &Path,
    named: bool,
    visited: &mut HashSet<PathBuf>,
    files: &mut Vec<File>,
) -> Result<(), LoadError> {
    let unreadable = |error| LoadError::Unreadable { path: path.to_owned(), error };
    let kind = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // Gone since the folder was listed, or a link to nothing: not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return Ok(()),
        Err(error) => return Err(unreadable(error)),
    };
    if kind.is_dir() {
        // Links can make a circle.
        if !visited.insert(fs::canonicalize(path).map_err(unreadable)?) {
            return Ok(());
        }
        let mut entries = fs::read_dir(path)
            .and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
            })
            .map_err(unreadable)?;
        entries.sort();
        for entry in entries {
            let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if !hidden {
                walk(&entry, false, visited, files)?;
            }
        }
    } else if named || kind.is_file() && path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        };
        files.push(File { name: path.display().to_string(), text });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ENDPOINT: &str = "apiVersion: scim-operator.io/v1alpha1\nkind: ScimEndpoint\nmetadata: {name: main, namespace: identity}\nspec: {}\n";
    const TENANT: &str = "apiVersion: scim-operator.io/v1alpha1\nkind: ScimTenant\n\
        metadata: {name: acme, namespace: identity}\nspec: {endpointRef: {name: main}}\n";
    const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: acme-scim-token, namespace: identity}\n\
        stringData: {token: own-token-0123456789}\n";

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Options) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = root.path().join("manifests").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let options = Options {
            manifests: root.path().join("manifests"),
            data: root.path().join("data"),
            endpoint: None,
        };
        (root, options)
    }

    fn quickstart(data: &Path) -> Options {
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
        Options { manifests, data: data.to_owned(), endpoint: None }
    }

    #[test]
    fn quickstart_loads_and_the_made_token_is_used_again() {
        let data = tempfile::tempdir().unwrap();
        let mut first = load(&quickstart(data.path())).unwrap();
        assert!(
            !data.path().join("secrets/identity.acme-scim-token.yaml").exists(),
            "nobody is told before it is accepted"
        );
        first.publish().unwrap();
        assert_eq!(first.warnings, []);
        let [made] = first.generated.as_slice() else { panic!("one Secret is made: {:?}", first.generated) };
        assert_eq!((made.tenant.as_str(), made.tenant_path.as_str()), ("identity/acme", "acme"));
        assert_eq!(fs::metadata(&made.token_file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&made.token_file).unwrap();
        let token = text.lines().find_map(|line| line.strip_prefix("  token: ")).unwrap();
        assert_eq!(token.len(), 44);
        assert!(!format!("{first:?}").contains(token));

        let second = load(&quickstart(data.path())).unwrap();
        assert_eq!(second.generated, []);
        assert_eq!(second.config, first.config);
    }

    #[test]
    fn secret_of_the_folder_stands_before_one_made_earlier() {
        let (_root, options) = folder(&[("endpoint.yaml", ENDPOINT), ("tenant.yaml", TENANT)]);
        let mut made = load(&options).unwrap();
        made.publish().unwrap();
        fs::write(options.manifests.join("secret.yaml"), SECRET).unwrap();
        let own = load(&options).unwrap();
        assert_eq!(own.generated, []);
        assert_ne!(own.config.tenants[0].tokens, made.config.tenants[0].tokens);
    }

    #[test]
    fn error_anywhere_makes_no_secret() {
        let (_root, options) = folder(&[
            ("endpoint.yaml", ENDPOINT),
            ("tenant.yaml", TENANT),
            ("other.yaml", &TENANT.replace("acme", "globex").replace("endpointRef", "endpoint")),
        ]);
        let Err(LoadError::Findings(findings)) = load(&options) else { panic!("the folder is refused") };
        assert!(has_errors(&findings));
        assert!(!options.data.exists());
    }

    #[test]
    fn folders_below_are_read_and_hidden_ones_are_not() {
        let (_root, options) = folder(&[
            ("endpoint.yml", ENDPOINT),
            ("tenants/eu/acme.yaml", TENANT),
            (".git/broken.yaml", "{"),
            ("README.md", "# not YAML: {"),
        ]);
        assert_eq!(load(&options).unwrap().config.tenants.len(), 1);
    }

    #[test]
    fn several_endpoints_need_a_choice() {
        let second = ENDPOINT.replace("main", "second");
        let (_root, mut options) = folder(&[("a.yaml", ENDPOINT), ("b.yaml", &second), ("c.yaml", TENANT)]);
        insta::assert_snapshot!(load(&options).unwrap_err(), @"there are 2 ScimEndpoints: choose one with --endpoint identity/main or --endpoint identity/second");
        options.endpoint = Some("identity/second".to_owned());
        assert_eq!(load(&options).unwrap().config.tenants, []);
        options.endpoint = Some("identity/third".to_owned());
        insta::assert_snapshot!(load(&options).unwrap_err(), @"there is no ScimEndpoint identity/third; there is identity/main and identity/second");
    }

    #[test]
    fn folder_without_an_endpoint_is_refused() {
        let (root, mut options) = folder(&[("notes.txt", "")]);
        let error = load(&options).unwrap_err().to_string();
        assert!(error.starts_with("there is no ScimEndpoint in "), "{error}");
        options.manifests = root.path().join("missing");
        let error = load(&options).unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
    }
}
