// Written by web/build.mjs.
&[
    File {
        path: "/assets/icon-22de4ba081.svg",
        media_type: "image/svg+xml",
        etag: "\"22de4ba081539467fb73acf440083854\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/icon-22de4ba081.svg"),
    },
    File {
        path: "/assets/page-8505f06346.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"8505f06346dd3df70d1458ac9c9917c1\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-8505f06346.js"),
    },
    File {
        path: "/assets/page-fa5992f281.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"fa5992f28108e008fc326c04fe8c9995\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-fa5992f281.css"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"910b935ac0c235a07cf905ca0bbadd49\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"bf785fa2bf122486ec16353cd5a2ba7a\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client.js"),
    },
]
