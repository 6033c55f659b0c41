//! The parameters of a Query call: names as AWS's API reference has them, lists counted from 1.

use std::fmt::Display;

/// Parameters, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// With this parameter.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "callers have numbers, words and references")]
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// With this parameter, if there is a value.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    /// With `name.1`, `name.2` …
    #[must_use]
    pub fn list(mut self, name: &str, values: impl IntoIterator<Item = impl Display>) -> Self {
        for (index, value) in values.into_iter().enumerate() {
            self = self.set(&format!("{name}.{}", index + 1), value);
        }
        self
    }

    /// With the filters `name = any of values`.
    #[must_use]
    pub fn filters<'a>(
        mut self,
        filters: impl IntoIterator<Item = &'a (String, Vec<String>)>,
    ) -> Self {
        for (index, (name, values)) in filters.into_iter().enumerate() {
            let filter = format!("Filter.{}", index + 1);
            self =
                self.set(&format!("{filter}.Name"), name).list(&format!("{filter}.Value"), values);
        }
        self
    }

    /// With tags that the new `resource` (`volume`, `snapshot`) is made with.
    #[must_use]
    pub fn tagged<'a>(
        self,
        resource: &str,
        tags: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        let with = self.set("TagSpecification.1.ResourceType", resource);
        with.tags("TagSpecification.1.Tag", tags)
    }

    /// With `name.1.Key`, `name.1.Value` …
    #[must_use]
    pub fn tags<'a>(
        mut self,
        name: &str,
        tags: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        for (index, (key, value)) in tags.into_iter().enumerate() {
            let tag = format!("{name}.{}", index + 1);
            self = self.set(&format!("{tag}.Key"), key).set(&format!("{tag}.Value"), value);
        }
        self
    }

    /// As the body of a request: `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn encode(&self, action: &str, version: &str) -> String {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", action)
            .append_pair("Version", version)
            .extend_pairs(&self.0)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn lists_are_counted_from_one() {
        let filters = [("tag:Name".to_owned(), vec!["a b".to_owned(), "c&d".to_owned()])];
        let tags = BTreeMap::from([("Name".to_owned(), "x".to_owned())]);
        let form =
            Form::default().list("VolumeId", ["v"]).filters(&filters).tagged("volume", &tags);
        let body = form.encode("DescribeVolumes", "2016-11-15");
        assert_eq!(
            body,
            "Action=DescribeVolumes&Version=2016-11-15&VolumeId.1=v&Filter.1.Name=tag%3AName\
             &Filter.1.Value.1=a+b&Filter.1.Value.2=c%26d&TagSpecification.1.ResourceType=volume\
             &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=x"
        );
    }
}
