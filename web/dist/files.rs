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
        path: "/assets/page-062af85464.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"062af8546468614ee6222232265289c1\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-062af85464.js"),
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
        etag: "\"3b673b9db5f74e72741e8c45083b7b56\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("index.html"),
    },
    File {
        path: "/seawall-client.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"51939644a24599d149b3ae418162fac0\"",
        freshness: Freshness::Revalidated,
        bytes: include_bytes!("seawall-client.js"),
    },
]
