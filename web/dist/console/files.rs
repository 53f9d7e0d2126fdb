// Written by web/build.mjs.
&[
    File {
        path: "/console/assets/console-2fb5bccc9a.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"2fb5bccc9ab8ef9d0b8fc37d8ed38ebf\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/console-2fb5bccc9a.js"),
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
        etag: "\"4531c6a2c0ee3b41c12be4ef1231eb80\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index.html"),
    },
]
