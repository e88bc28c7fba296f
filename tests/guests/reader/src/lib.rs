//! Reads the files it is given and tries for more: to change them, and to see what lies beside them.
#![cfg(target_os = "wasi")]

actum_guest::capability! {
    wit: "wit",
    implement: Reader,
}

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};

use bindings::exports::test::reader::reader::{Entry, Guest, Raw};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};

struct Reader;

impl Guest for Reader {
    fn walk(path: String) -> Result<Vec<Entry>, String> {
        let mut found = Vec::new();
        walk(&path, &mut found).map_err(told)?;
        Ok(found)
    }

    fn read(path: String) -> Result<String, String> {
        fs::read_to_string(path).map_err(told)
    }

    fn read_at(path: String, offset: u64, count: u64) -> Result<Vec<u8>, String> {
        let mut file = File::open(path).map_err(told)?;
        file.seek(SeekFrom::Start(offset)).map_err(told)?;
        let mut bytes = Vec::new();
        file.take(count).read_to_end(&mut bytes).map_err(told)?;
        Ok(bytes)
    }

    fn measure(path: String) -> Result<u64, String> {
        let mut file = File::open(path).map_err(told)?;
        io::copy(&mut file, &mut io::sink()).map_err(told)
    }

    fn change(path: String) -> Vec<(String, String)> {
        let beside = format!("{path}.new");
        let attempts: [(&str, io::Result<()>); 11] = [
            ("write", OpenOptions::new().write(true).open(&path).map(drop)),
            ("append", OpenOptions::new().append(true).open(&path).map(drop)),
            ("truncate", OpenOptions::new().write(true).truncate(true).open(&path).map(drop)),
            ("create", File::create(&beside).map(drop)),
            ("create new", File::create_new(&beside).map(drop)),
            ("create directory", fs::create_dir(&beside)),
            ("copy", fs::copy(&path, &beside).map(drop)),
            ("rename", fs::rename(&path, &beside)),
            ("link", fs::hard_link(&path, &beside)),
            ("remove", fs::remove_file(&path)),
            ("remove directory", fs::remove_dir(&path)),
        ];
        attempts.map(|(what, came)| (what.to_owned(), came.map_or_else(told, |()| "done".to_owned()))).into()
    }

    fn look(path: String, offset: u64, count: u64) -> Result<Raw, String> {
        let file = open(&path)?;
        let stat = file.stat().map_err(said)?;
        let hash = file.metadata_hash().map_err(said)?;
        let flags = file.get_flags().map_err(said)?;
        file.sync().map_err(said)?;
        let (bytes, end) = file.read(count, offset).map_err(said)?;
        Ok(Raw {
            kind: format!("{:?}", stat.type_),
            flags: format!("{flags:?}"),
            size: stat.size,
            links: stat.link_count,
            timed: stat.data_modification_timestamp.is_some()
                || stat.data_access_timestamp.is_some()
                || stat.status_change_timestamp.is_some(),
            hash: (hash.lower, hash.upper),
            bytes,
            end,
        })
    }

    fn same(a: String, b: String) -> Result<bool, String> {
        Ok(open(&a)?.is_same_object(&open(&b)?))
    }

    fn hoard(path: String, count: u32) -> Result<u32, String> {
        let held: Result<Vec<Descriptor>, String> = (0..count).map(|_| open(&path)).collect();
        Ok(held?.len() as u32)
    }
}

fn told(error: io::Error) -> String {
    error.to_string()
}

fn said(code: wasip2::filesystem::types::ErrorCode) -> String {
    code.name().to_owned()
}

fn open(path: &str) -> Result<Descriptor, String> {
    let (root, _) = get_directories().into_iter().next().ok_or("there is no directory")?;
    root.open_at(PathFlags::empty(), path, OpenFlags::empty(), DescriptorFlags::READ).map_err(said)
}

fn walk(path: &str, found: &mut Vec<Entry>) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let path = entry.path().to_string_lossy().into_owned();
        found.push(Entry { path: path.clone(), directory: metadata.is_dir(), size: metadata.len() });
        if metadata.is_dir() {
            walk(&path, found)?;
        }
    }
    Ok(())
}
