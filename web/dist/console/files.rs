// Written by web/build.mjs.
&[
    File {
        path: "/console/assets/console-09221d794d.js",
        media_type: "text/javascript; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"09221d794db9b12fbdb543e90745e507\"", bytes: include_bytes!("assets/console-09221d794d.js") },
        gzip: Some(FileForm { etag: "\"b0b37fe748ce8546d6844c744147dfb3\"", bytes: include_bytes!("assets/console-09221d794d.js.gz") }),
    },
    File {
        path: "/console/assets/console-379514d576.css",
        media_type: "text/css; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"379514d576bf8b0eabc2ea1dcfce5580\"", bytes: include_bytes!("assets/console-379514d576.css") },
        gzip: Some(FileForm { etag: "\"3edad1064321e56fb1c4b8f0fdeddc4b\"", bytes: include_bytes!("assets/console-379514d576.css.gz") }),
    },
    File {
        path: "/console/assets/icon-22de4ba081.svg",
        media_type: "image/svg+xml",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"22de4ba081539467fb73acf440083854\"", bytes: include_bytes!("assets/icon-22de4ba081.svg") },
        gzip: None,
    },
    File {
        path: "/console/",
        media_type: "text/html; charset=utf-8",
        kind: FileKind::Page,
        plain: FileForm { etag: "\"5ce663f6d0aed156c3f6a8448ae2153a\"", bytes: include_bytes!("index.html") },
        gzip: None,
    },
]
