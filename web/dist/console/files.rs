// Written by web/build.mjs.
&[
    File {
        path: "/console/assets/console-8290fc7126.js",
        media_type: "text/javascript; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"8290fc7126196b9dbeadcd455ea8d6cf\"", bytes: include_bytes!("assets/console-8290fc7126.js") },
        gzip: Some(FileForm { etag: "\"7800f6a06fb48091c98836cf55c099f8\"", bytes: include_bytes!("assets/console-8290fc7126.js.gz") }),
    },
    File {
        path: "/console/assets/console-b1c23fdcc5.css",
        media_type: "text/css; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"b1c23fdcc53cb202e9e83705a1952208\"", bytes: include_bytes!("assets/console-b1c23fdcc5.css") },
        gzip: Some(FileForm { etag: "\"7ea32608a71e54f6fa31c3a9e623095b\"", bytes: include_bytes!("assets/console-b1c23fdcc5.css.gz") }),
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
        plain: FileForm { etag: "\"5ddcf8886b1c35f06528ba65d01ef3c3\"", bytes: include_bytes!("index.html") },
        gzip: None,
    },
]
