//! The `NodeAddressPool` that is made where there is none, so that whoever wants no other has to apply nothing. From then
//! on it is its owner's: it is never changed, and not made again while there is another.

use std::time::{Duration, Instant};

use api::NodeAddressPool;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::core::TypeMeta;
use kube::{Api, Client, Resource};
use kubekit::lease::Leads;
use kubekit::write::{Answer, Intent, Object, Writes};
use kubekit::{REQUEST_TIMEOUT, due};
use serde_json::{Map, Value, json};
use tracing::info;

/// Its name.
const NAME: &str = "nodes";
/// At most so long until the next try, while the definition of the kind may be on its way.
const RETRY: Duration = Duration::from_secs(2);

/// Makes a pool that says this, once this replica leads, unless there is one of any name.
pub(crate) async fn make(
    client: Client,
    namespace: String,
    spec: Map<String, Value>,
    mut leads: Leads,
    writes: Writes,
) {
    let resource = kube::core::ApiResource::erase::<NodeAddressPool>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    let (first, params) = (ListParams { limit: Some(1), ..ListParams::default() }, PostParams::default());
    let object = Object::new("NodeAddressPool", &namespace, NAME);
    loop {
        while !leads.leads(Instant::now()) {
            leads.changed().await;
        }
        let list = api.list_metadata(&first);
        let again = match writes.perform(&object, Intent::Read, REQUEST_TIMEOUT, list).await {
            Answer::Done(found) if !found.items.is_empty() => return,
            Answer::Done(_) => {
                let pool = pool(&spec);
                let create = api.create(&params, &pool);
                match writes.perform(&object, Intent::Create, REQUEST_TIMEOUT, create).await {
                    Answer::Done(_) => return info!(pool = NAME, "made a NodeAddressPool, there was none"),
                    Answer::Conflict => return,
                    Answer::Gone => None,
                    Answer::Refused(failure) | Answer::Unavailable(failure) => Some(failure.again),
                }
            }
            Answer::Conflict | Answer::Gone => None,
            Answer::Refused(failure) | Answer::Unavailable(failure) => Some(failure.again),
        };
        due(Some(again.unwrap_or_else(|| Instant::now() + RETRY))).await;
    }
}

fn pool(spec: &Map<String, Value>) -> DynamicObject {
    let types = TypeMeta {
        api_version: NodeAddressPool::api_version(&()).into(),
        kind: NodeAddressPool::kind(&()).into(),
    };
    let metadata =
        kube::core::ObjectMeta { name: Some(NAME.to_owned()), ..kube::core::ObjectMeta::default() };
    DynamicObject { types: Some(types), metadata, data: json!({"spec": spec}) }
}
