//! The files of the console, embedded in the program. The public listener has a table of its own, so it cannot serve them.

use crate::wire::coding::Coding;
use crate::wire::page::{File, FileForm, FileKind, POLICY};
use crate::wire::request::{After, Method};
use crate::wire::response::{self, ResponseOptions};

static FILES: &[File] = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/dist/console/files.rs"));

/// The file at this path of the admin listener.
pub(super) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

/// True if the path leads to the page.
pub(super) fn leads_to_page(path: &str) -> bool {
    matches!(path, "/" | "/console")
}

/// Appends a file. Only its own page may load it, and no site gets a reference to the page's window.
pub(super) fn answer(out: &mut Vec<u8>, method: Method, coding: Coding, file: &File) {
    let (form, coding) = file.form(coding);
    let headers = [
        ("ETag", form.etag),
        ("Content-Security-Policy", POLICY),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Referrer-Policy", "no-referrer"),
    ];
    let headers = [&headers, coding].concat();
    let options = ResponseOptions {
        cache_control: file.kind.cache_control(),
        headers: &headers,
        ..ResponseOptions::plain(method, After::Close)
    };
    response::answer(out, 200, file.media_type, form.bytes, &options);
}

/// Appends the way to the page. It is relative, so that it works under any prefix of a proxy.
pub(super) fn lead(out: &mut Vec<u8>, method: Method) {
    let options = ResponseOptions {
        headers: &[("Location", "console/")],
        ..ResponseOptions::plain(method, After::Close)
    };
    response::answer(out, 303, "text/plain", b"", &options);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::page;

    #[test]
    fn console_is_embedded_and_the_public_listener_has_none_of_it() {
        assert!(find("/console/").is_some_and(|file| file.kind == FileKind::Page));
        assert!(FILES.len() >= 4 && FILES.iter().all(|file| file.path.starts_with("/console/")));
        assert!(FILES.iter().all(|file| page::find(file.path).is_none()));
    }
}
