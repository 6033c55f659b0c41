//! What drivers said of themselves, asked once per instance: a plugin that was started again is
//! asked again.

use super::{Driver, calls};
use crate::rpc::Address;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What holds where a driver cannot be asked.
const DEFAULT: &str = "local";

/// The scopes of drivers, by name.
#[derive(Debug, Default)]
pub(super) struct Instances(Mutex<HashMap<String, Instance>>);

#[derive(Debug)]
struct Instance {
    pid: Option<i32>,
    address: Address,
    scope: String,
}

impl Instances {
    /// The scope of a driver. One that could not be asked is `local` for now.
    pub(super) async fn scope(&self, driver: &Driver) -> String {
        if let Some(scope) = self.find(driver) {
            return scope;
        }
        match calls::scope(driver).await {
            Ok(scope) => {
                self.put(driver, scope.clone());
                scope
            }
            Err(error) => {
                tracing::debug!(driver = driver.name, %error, "scope unknown");
                DEFAULT.to_owned()
            }
        }
    }

    /// The scope of a driver as far as it is known already.
    pub(super) fn known_scope(&self, driver: &Driver) -> String {
        self.find(driver).unwrap_or_else(|| DEFAULT.to_owned())
    }

    fn find(&self, driver: &Driver) -> Option<String> {
        let instances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = instances.get(&driver.name)?;
        let is_same = known.pid == driver.pid && known.address == driver.client.address;
        is_same.then(|| known.scope.clone())
    }

    fn put(&self, driver: &Driver, scope: String) {
        let instance = Instance { pid: driver.pid, address: driver.client.address.clone(), scope };
        let mut instances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        instances.insert(driver.name.clone(), instance);
    }
}
