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
        path: "/console/assets/console-8290fc7126.js",
        media_type: "text/javascript; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"8290fc7126196b9dbeadcd455ea8d6cf\"", bytes: include_bytes!("assets/console-8290fc7126.js") },
        gzip: Some(FileForm { etag: "\"7800f6a06fb48091c98836cf55c099f8\"", bytes: include_bytes!("assets/console-8290fc7126.js.gz") }),
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
        plain: FileForm { etag: "\"a66ccc431a12181f9967355f95372890\"", bytes: include_bytes!("index.html") },
        gzip: None,
    },
]
