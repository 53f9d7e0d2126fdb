// Written by web/build.mjs.
&[
    File {
        path: "/console/assets/console-a89e3565de.js",
        media_type: "text/javascript; charset=utf-8",
        kind: FileKind::Part,
        plain: FileForm { etag: "\"a89e3565de3dd62f9d3b3fd8b36303db\"", bytes: include_bytes!("assets/console-a89e3565de.js") },
        gzip: Some(FileForm { etag: "\"5d74fcf1d182a313d3bca531227cf7cb\"", bytes: include_bytes!("assets/console-a89e3565de.js.gz") }),
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
        plain: FileForm { etag: "\"d67aa95d47e181b6eb38cbca7d15b2f6\"", bytes: include_bytes!("index.html") },
        gzip: None,
    },
]
