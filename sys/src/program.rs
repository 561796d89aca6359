//! The program's own pages: its text and that of its libraries.

use std::ffi::c_void;
use std::slice;

/// Takes the pages of the program and its libraries that nobody can have written to
/// out of this process's memory (`MADV_DONTNEED`, madvise(2)): what runs again is
/// mapped again from the page cache, and what only a start needs is not. For when
/// that is over. Pages that are [locked](crate::thread::lock_memory) stay.
pub fn let_go() {
    // SAFETY: the callback has the type that is asked for, and takes no data.
    unsafe { libc::dl_iterate_phdr(Some(let_go_of), std::ptr::null_mut()) };
}

/// Does it for one object (dl_iterate_phdr(3)).
unsafe extern "C" fn let_go_of(
    object: *mut libc::dl_phdr_info,
    _: libc::size_t,
    _: *mut c_void,
) -> libc::c_int {
    // SAFETY: it is given for the time of the call, with as many headers as it says.
    let (base, headers) = unsafe {
        let object = &*object;
        let count = usize::from(object.dlpi_phnum);
        let headers = slice::from_raw_parts(object.dlpi_phdr, count);
        (object.dlpi_addr, headers)
    };
    // SAFETY: takes a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = usize::try_from(page).unwrap_or(4096);
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let number = |n| usize::try_from(n).unwrap_or(0);
        let start = number(base.wrapping_add(header.p_vaddr));
        // Not the pages that it shares with its neighbours.
        let end = (start + number(header.p_memsz)) / page * page;
        let start = start.next_multiple_of(page);
        if start < end {
            let place = std::ptr::without_provenance_mut(start);
            // SAFETY: the segment is mapped from a file, and was never writable: its
            // pages are as they are in the file, and the kernel brings them back when
            // they are needed. Relocations of text, which would be lost, are what no
            // linker makes for Rust.
            let _ = unsafe { libc::madvise(place, end - start, libc::MADV_DONTNEED) };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KiB of files in memory.
    fn resident_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssFile:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse().unwrap()
    }

    #[test]
    fn what_was_let_go_comes_back_as_it_runs() {
        let before = resident_kib();
        let_go();
        let after = resident_kib();
        assert!(after < before, "{before} KiB, then {after}");
        assert_eq!(
            "12".parse::<u8>().map(|n| format!("{n:>4}")).unwrap(),
            "  12"
        );
    }
}
