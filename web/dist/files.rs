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
        path: "/assets/page-387d3ad80c.css",
        media_type: "text/css; charset=utf-8",
        etag: "\"387d3ad80c200b9fc123d71a92810fe2\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-387d3ad80c.css"),
    },
    File {
        path: "/assets/page-a363c19e76.js",
        media_type: "text/javascript; charset=utf-8",
        etag: "\"a363c19e769abad2e0aee4378f64e139\"",
        freshness: Freshness::Immutable,
        bytes: include_bytes!("assets/page-a363c19e76.js"),
    },
    File {
        path: "/",
        media_type: "text/html; charset=utf-8",
        etag: "\"442faf8a175e8248fa9d0947690bf666\"",
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
