// Written by web/build.mjs.
&[
    File {
        path: "/assets/icon-22de4ba081.svg",
        media_type: "image/svg+xml",
        etag: "\"22de4ba081539467fb73acf440083854\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/icon-22de4ba081.svg"),
    },
    File {
        path: "/assets/page-89aeeed1e1.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"89aeeed1e1edb5820c06ace03b6fd6e6\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-89aeeed1e1.css"),
    },
    File {
        path: "/assets/page-fc8425f338.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"fc8425f3380365bd2078162f52c903d9\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-fc8425f338.js"),
    },
    File {
        path: "/?link_tokens=off",
        media_type: "text/html; charset=utf-8",
        etag: "\"0bd93322f39a76a9395b3f6c13c6516b\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index-link-tokens-off.html"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"859b0174c2e80c6c6b861cf3b37aa6c6\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client-outbox.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"511d753e3bbfe51653d144a8b5f044f9\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client-outbox.js"),
    },
    File {
        path: "/seawall-client-timeline.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"e9c0dba2d5838b556bc76443fd0954ec\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client-timeline.js"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"cca618e46db8d399ed1ebb32b7b97ac3\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client.js"),
    },
]
