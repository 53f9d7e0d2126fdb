// Written by web/build.mjs.
&[
    File {
        path: "/console/assets/console-379514d576.css",
        media_type: "text/css; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"379514d576bf8b0eabc2ea1dcfce5580\"", bytes: include_bytes!("assets/console-379514d576.css") },
        gzip: Some(FileForm { etag: "\"3edad1064321e56fb1c4b8f0fdeddc4b\"", bytes: include_bytes!("assets/console-379514d576.css.gz") }),
    },
    File {
        path: "/console/assets/console-b3046de045.js",
        media_type: "text/javascript; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"b3046de0451896d0abda68131f58c29e\"", bytes: include_bytes!("assets/console-b3046de045.js") },
        gzip: Some(FileForm { etag: "\"cba768332c175275d326988a107c016f\"", bytes: include_bytes!("assets/console-b3046de045.js.gz") }),
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
        plain: FileForm { etag: "\"b51e1e05f8ab428ec25490868fd6e515\"", bytes: include_bytes!("index.html") },
        gzip: None,
    },
]
