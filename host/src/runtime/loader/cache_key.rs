//! Decides whether the folder of the compilation cache can be trusted, and keeps the key that authenticates its
//! entries.
//!
//! The entries are loaded as native code. Whoever can write the folder or read the key could run code as the host.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The extension of the key file, which is beside the folder and named like it.
const EXTENSION: &str = "key";
/// The length of the key.
pub(super) const KEY_BYTES: usize = 32;
/// The bits of a mode with which the group and others can write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// The bits of a mode with which the group and others can do anything.
const ACCESSIBLE_TO_OTHERS: u32 = 0o077;
/// The user that may do everything on this machine.
const ROOT: u32 = 0;

/// The reasons why the compilation cache is not used.
#[derive(Debug, thiserror::Error)]
pub(in crate::runtime) enum CacheError {
    /// The folder or the key cannot be read or written.
    #[error("{} cannot be used: {error}; check the path and its permissions", .path.display())]
    Unusable { path: PathBuf, error: io::Error },
    /// The folder or the key belongs to another user.
    #[error(
        "{} belongs to the user {owner}, who could put code there; delete it, and the next start creates it again", .path.display()
    )]
    ForeignOwner { path: PathBuf, owner: u32 },
    /// Other users can write to the folder.
    #[error("other users can put code into {} (mode {mode:03o}); run `chmod go-w {}`", .path.display(), .path.display())]
    WritableByOthers { path: PathBuf, mode: u32 },
    /// Other users can read or write the key.
    #[error(
        "other users can use the key {} (mode {mode:03o}); delete it, and the next start creates another one", .path.display()
    )]
    KeyAccessibleToOthers { path: PathBuf, mode: u32 },
    /// The key file does not hold a key.
    #[error("{} is damaged: it must have {KEY_BYTES} bytes; delete it, and the next start creates another one", .path.display())]
    KeyDamaged { path: PathBuf },
}

/// Creates the folder if it does not exist, checks who can write to it, and returns the key of its entries, which is
/// created on first use.
pub(super) fn open(folder: &Path) -> Result<[u8; KEY_BYTES], CacheError> {
    let unusable = |error| CacheError::Unusable { path: folder.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
    let metadata = fs::metadata(folder).map_err(unusable)?;
    // Checked first, so that nothing is written to a folder of somebody else.
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(CacheError::WritableByOthers { path: folder.to_owned(), mode: permissions(metadata.mode()) });
    }
    let host_user = user_of_this_process(folder).map_err(unusable)?;
    check_owner(folder, metadata.uid(), host_user)?;
    read_key(&folder.with_extension(EXTENSION), host_user)
}

fn check_owner(path: &Path, owner: u32, host_user: u32) -> Result<(), CacheError> {
    if owner == host_user || owner == ROOT {
        return Ok(());
    }
    Err(CacheError::ForeignOwner { path: path.to_owned(), owner })
}

/// The user who owns the files that this process creates.
fn user_of_this_process(folder: &Path) -> io::Result<u32> {
    let path = folder.join(format!(".owner.{}", uuid::Uuid::new_v4()));
    let owner = create_private(&path).and_then(|file| file.metadata()).map(|metadata| metadata.uid());
    // An empty file that remains does no harm.
    let _ = fs::remove_file(path);
    owner
}

fn read_key(path: &Path, host_user: u32) -> Result<[u8; KEY_BYTES], CacheError> {
    let unusable = |error| CacheError::Unusable { path: path.to_owned(), error };
    let opened = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_key(path).and_then(|()| File::open(path)),
        opened => opened,
    };
    let file = opened.map_err(unusable)?;
    let metadata = file.metadata().map_err(unusable)?;
    check_owner(path, metadata.uid(), host_user)?;
    if metadata.mode() & ACCESSIBLE_TO_OTHERS != 0 {
        return Err(CacheError::KeyAccessibleToOthers { path: path.to_owned(), mode: permissions(metadata.mode()) });
    }
    let mut key = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key).map_err(unusable)?;
    key.try_into().map_err(|_| CacheError::KeyDamaged { path: path.to_owned() })
}

/// Writes a new key in one step. If two hosts do so at the same time, one key remains, and the entries of the other
/// host are written again.
fn create_key(path: &Path) -> io::Result<()> {
    let temporary = path.with_extension(format!("{EXTENSION}.{}", uuid::Uuid::new_v4()));
    let key: [u8; KEY_BYTES] = rand::random();
    let created = create_private(&temporary)
        .and_then(|mut file| file.write_all(&key))
        .and_then(|()| fs::rename(&temporary, path));
    if created.is_err() {
        // The caller needs the first error.
        let _ = fs::remove_file(&temporary);
    }
    created
}

/// Creates a file that only the user of this process can read.
fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

const fn permissions(mode: u32) -> u32 {
    mode & 0o777
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_key_is_created_once_and_only_its_owner_reads_it() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, key) = (parent.path().join("compiled"), parent.path().join("compiled.key"));
        let created = open(&folder).unwrap();
        assert_eq!(open(&folder).unwrap(), created);
        assert_eq!(fs::read(&key).unwrap(), created);
        assert_eq!(permissions(fs::metadata(&key).unwrap().mode()), 0o600);
        assert_eq!(permissions(fs::metadata(&folder).unwrap().mode()), 0o700);
        assert_eq!(fs::read_dir(&folder).unwrap().count() + fs::read_dir(parent.path()).unwrap().count(), 2);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(open(&other.path().join("compiled")).unwrap(), created, "each host has a key of its own");
    }

    #[test]
    fn a_folder_that_other_users_can_write_to_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("compiled");
        open(&folder).unwrap();
        for mode in [0o720, 0o702, 0o777] {
            set_mode(&folder, mode);
            let error = open(&folder).unwrap_err().to_string();
            assert!(error.contains(&format!("(mode {mode:03o}); run `chmod go-w ")), "{error}");
        }
        set_mode(&folder, 0o755);
        open(&folder).unwrap();
    }

    #[test]
    fn a_key_that_other_users_can_read_or_that_is_damaged_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, key) = (parent.path().join("compiled"), parent.path().join("compiled.key"));
        open(&folder).unwrap();
        set_mode(&key, 0o640);
        assert!(matches!(open(&folder), Err(CacheError::KeyAccessibleToOthers { mode: 0o640, .. })));
        set_mode(&key, 0o600);
        for length in [0, KEY_BYTES - 1, KEY_BYTES + 1] {
            fs::write(&key, vec![7; length]).unwrap();
            assert!(matches!(open(&folder), Err(CacheError::KeyDamaged { .. })), "{length}");
        }
        fs::remove_file(&key).unwrap();
        open(&folder).unwrap();
    }

    #[test]
    fn what_belongs_to_another_user_than_root_is_not_used() {
        let path = Path::new("compiled");
        assert!(check_owner(path, 1000, 1000).is_ok() && check_owner(path, ROOT, 1000).is_ok());
        assert!(matches!(check_owner(path, 1001, 1000), Err(CacheError::ForeignOwner { owner: 1001, .. })));
        assert!(check_owner(path, 1000, ROOT).is_err());
    }
}
