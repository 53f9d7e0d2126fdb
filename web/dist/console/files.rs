// Written by web/build.mjs.
&[
    File {
        path: "/console/assets/console-09221d794d.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"09221d794db9b12fbdb543e90745e507\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/console-09221d794d.js"),
    },
    File {
        path: "/console/assets/console-379514d576.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"379514d576bf8b0eabc2ea1dcfce5580\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/console-379514d576.css"),
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
        etag: "\"5ce663f6d0aed156c3f6a8448ae2153a\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index.html"),
    },
]
