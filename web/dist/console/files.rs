// Written by web/build.mjs.
&[
    File {
        path: "/console/assets/console-11deb836e2.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"11deb836e20ae7dc9570764f6da6128a\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/console-11deb836e2.js"),
    },
    File {
        path: "/console/assets/console-b2fc96cc94.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"b2fc96cc94bbdf04b257fa11df7a22d4\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/console-b2fc96cc94.css"),
    },
    File {
        path: "/console/assets/icon-22de4ba081.svg",
        media_type: "image/svg+xml",
        etag: "\"22de4ba081539467fb73acf440083854\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/icon-22de4ba081.svg"),
    },
    File {
        path: "/console/",
        media_type: "text/html; charset=utf-8",
        etag: "\"ca64339274bd40058e2a1caa6221ba34\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index.html"),
    },
]
