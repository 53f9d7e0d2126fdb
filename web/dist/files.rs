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
        path: "/assets/page-f9d771da3d.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"f9d771da3d809023b0075f87548c176c\"",
        kind: FileKind::Part,
        bytes: include_bytes!("assets/page-f9d771da3d.js"),
    },
    File {
        path: "/?link_tokens=off",
        media_type: "text/html; charset=utf-8",
        etag: "\"a270a0604c649681b60620a232b19dd6\"",
        kind: FileKind::Page,
        bytes: include_bytes!("index-link-tokens-off.html"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"4e281ff2a9ff5817d24a4ef347d0100b\"",
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
        etag: "\"8c19408a3148bef05f277839b0e659c8\"",
        kind: FileKind::Module,
        bytes: include_bytes!("seawall-client.js"),
    },
]
