//! The paths of orders about users: a method, a path and a body become a question, or a refusal.

use super::bodies::text;
use super::names;
use super::refusal::AdminRefusal;
use crate::id::{OrderId, UserName};
use crate::wire::request::Method;

/// The question or order of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderQuestion {
    /// An order to all instances.
    Give(OrderWish),
    /// The block of a user.
    Block(UserName),
    /// The newest orders.
    List,
    /// The progress of an order.
    Progress(OrderId),
}

/// The order that a request asks for, with its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderWish {
    Disconnect(UserName, String),
    Block(UserName, String),
    Unblock(UserName),
    Revoke(String),
    Erase(UserName, String),
}

/// The paths; each accepts certain methods.
#[derive(Clone, Copy)]
pub(super) enum OrderPath<'a> {
    Disconnect(&'a str),
    Block(&'a str),
    Erase(&'a str),
    Revoke,
    List,
    Progress(&'a str),
}

impl OrderPath<'_> {
    /// The path, if it is one of these. A name may be missing: the refusal then says so.
    pub(super) fn of(path: &str) -> Option<OrderPath<'_>> {
        match path {
            "/orders" => return Some(OrderPath::List),
            "/tokens/revoke" => return Some(OrderPath::Revoke),
            _ => {}
        }
        if let Some(number) = path.strip_prefix("/orders/") {
            return Some(OrderPath::Progress(number));
        }
        match path.strip_prefix("/users/")?.split_once('/')? {
            (name, "disconnect") => Some(OrderPath::Disconnect(name)),
            (name, "block") => Some(OrderPath::Block(name)),
            (name, "erase") => Some(OrderPath::Erase(name)),
            _ => None,
        }
    }

    /// Reads a request.
    pub(super) fn question(self, method: Method, body: &[u8]) -> Result<OrderQuestion, AdminRefusal> {
        let give = |order| Ok(OrderQuestion::Give(order));
        match (self, method) {
            (OrderPath::Disconnect(name), Method::Post) => {
                give(OrderWish::Disconnect(names::user(name)?, text(body)?.to_owned()))
            }
            (OrderPath::Block(name), Method::Put) => {
                give(OrderWish::Block(names::user(name)?, text(body)?.to_owned()))
            }
            (OrderPath::Block(name), Method::Delete) => give(OrderWish::Unblock(names::user(name)?)),
            (OrderPath::Block(name), Method::Get | Method::Head) => {
                Ok(OrderQuestion::Block(names::user(name)?))
            }
            (OrderPath::Erase(name), Method::Post) => {
                give(OrderWish::Erase(names::user(name)?, text(body)?.to_owned()))
            }
            (OrderPath::Revoke, Method::Post) => give(OrderWish::Revoke(text(body)?.to_owned())),
            (OrderPath::List, Method::Get | Method::Head) => Ok(OrderQuestion::List),
            (OrderPath::Progress(number), Method::Get | Method::Head) => {
                Ok(OrderQuestion::Progress(names::order(number)?))
            }
            (OrderPath::Block(_), _) => Err(AdminRefusal::method("GET, HEAD, PUT, DELETE")),
            (OrderPath::Disconnect(_) | OrderPath::Erase(_) | OrderPath::Revoke, _) => {
                Err(AdminRefusal::method("POST"))
            }
            (OrderPath::List | OrderPath::Progress(_), _) => Err(AdminRefusal::method("GET, HEAD")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_becomes_an_order_with_its_user_and_body() {
        let ann = UserName::parse("ann b").expect("a user name");
        let question = |method, path: &str, body: &str| {
            OrderPath::of(path).expect(path).question(method, body.as_bytes())
        };
        let give = |order| Ok(OrderQuestion::Give(order));
        assert_eq!(
            question(Method::Put, "/users/ann%20b/block", "{}"),
            give(OrderWish::Block(ann.clone(), "{}".into()))
        );
        assert_eq!(
            question(Method::Delete, "/users/ann%20b/block", ""),
            give(OrderWish::Unblock(ann.clone()))
        );
        assert_eq!(question(Method::Get, "/users/ann%20b/block", ""), Ok(OrderQuestion::Block(ann)));
        assert_eq!(question(Method::Get, "/orders/7", ""), Ok(OrderQuestion::Progress(OrderId(7))));
        let refused = question(Method::Post, "/users//disconnect", "").expect_err("no user");
        assert!(refused.message.starts_with("the path names no user"), "{}", refused.message);
        assert!(OrderPath::of("/users/ann").is_none() && OrderPath::of("/users/ann/other").is_none());
    }
}
