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
        path: "/assets/page-48caed1699.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"48caed1699041485aa36251e63a3a282\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-48caed1699.js"),
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
        etag: "\"ca2c4d1c6bb0507dd891d0eac934aca5\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"5af30c5bccab26fea3983a07ced7fd3c\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client.js"),
    },
]
