// Written by web/build.mjs.
&[
    File {
        path: "/console/assets/console-2576c4baa3.js",
        media_type: "text/javascript; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"2576c4baa3225c69257ac0dc1a8837f9\"", bytes: include_bytes!("assets/console-2576c4baa3.js") },
        gzip: Some(FileForm { etag: "\"e36fcee5fdfb537e23081497fe115052\"", bytes: include_bytes!("assets/console-2576c4baa3.js.gz") }),
    },
    File {
        path: "/console/assets/console-ba48267ee6.css",
        media_type: "text/css; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"ba48267ee65ab5ac090edd0a15ee125b\"", bytes: include_bytes!("assets/console-ba48267ee6.css") },
        gzip: Some(FileForm { etag: "\"9922a93ff1925d3f4d827cba6485fcdc\"", bytes: include_bytes!("assets/console-ba48267ee6.css.gz") }),
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
        plain: FileForm { etag: "\"0f56361d9a4d8de278f41a37f62c6561\"", bytes: include_bytes!("index.html") },
        gzip: None,
    },
]
