// Written by web/build.mjs.
&[
    File {
        path: "/console/assets/console-b1c23fdcc5.css",
        media_type: "text/css; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"b1c23fdcc53cb202e9e83705a1952208\"", bytes: include_bytes!("assets/console-b1c23fdcc5.css") },
        gzip: Some(FileForm { etag: "\"7ea32608a71e54f6fa31c3a9e623095b\"", bytes: include_bytes!("assets/console-b1c23fdcc5.css.gz") }),
    },
    File {
        path: "/console/assets/console-c404110ef7.js",
        media_type: "text/javascript; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"c404110ef70f650880e8b097c2a1f457\"", bytes: include_bytes!("assets/console-c404110ef7.js") },
        gzip: Some(FileForm { etag: "\"172b71efb293da52b8acce3aab2c7e95\"", bytes: include_bytes!("assets/console-c404110ef7.js.gz") }),
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
        plain: FileForm { etag: "\"9269e8c346adcc20843eaa49564ac812\"", bytes: include_bytes!("index.html") },
        gzip: None,
    },
]
