//! Tables on disk: comma or tab separated, gzipped or not, with a first row of names.

use flate2::read::MultiGzDecoder;
use protocol::Point;
use std::{fs::File, io::Read, path::Path};
use thiserror::Error;

/// A table that could not be read.
#[derive(Debug, Error)]
pub enum TableError {
    /// The file could not be opened or read.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Not separated as it should be.
    #[error("{path}: {error}")]
    Csv {
        /// Which.
        path: String,
        /// Why.
        error: csv::Error,
    },
    /// A column is not there.
    #[error("{path}: no column {column}")]
    NoColumn {
        /// Which file.
        path: String,
        /// Which column.
        column: String,
    },
    /// A value is not what its column promises.
    #[error("{text:?} is not {wanted}")]
    Value {
        /// What stands there.
        text: String,
        /// What should.
        wanted: &'static str,
    },
}

/// An open table.
pub(crate) struct Table {
    path: String,
    reader: csv::Reader<Box<dyn Read>>,
}

impl Table {
    /// Opens a comma separated file; `.gz` is unpacked on the way.
    pub(crate) fn open(path: &Path) -> Result<Self, TableError> {
        Self::separated(path, b',')
    }

    /// Opens a tab separated one.
    pub(crate) fn open_tabbed(path: &Path) -> Result<Self, TableError> {
        Self::separated(path, b'\t')
    }

    fn separated(path: &Path, delimiter: u8) -> Result<Self, TableError> {
        let name = path.display().to_string();
        let file =
            File::open(path).map_err(|error| TableError::Io { path: name.clone(), error })?;
        let is_packed = path.extension().is_some_and(|extension| extension == "gz");
        let bytes: Box<dyn Read> =
            if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(bytes);
        Ok(Self { path: name, reader })
    }

    /// The name of the first column that starts with `prefix`.
    pub(crate) fn column_starting_with(mut self, prefix: &str) -> Result<String, TableError> {
        let headers = self.headers()?;
        headers
            .iter()
            .find(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .ok_or_else(|| TableError::NoColumn { path: self.path, column: prefix.to_owned() })
    }

    fn headers(&mut self) -> Result<csv::StringRecord, TableError> {
        let path = &self.path;
        self.reader
            .headers()
            .cloned()
            .map_err(|error| TableError::Csv { path: path.clone(), error })
    }

    /// The named columns of every row.
    pub(crate) fn rows<const N: usize>(
        mut self,
        columns: [&str; N],
    ) -> Result<impl Iterator<Item = Result<[String; N], TableError>>, TableError> {
        let headers = self.headers()?;
        let mut places = [0; N];
        for (place, column) in places.iter_mut().zip(columns) {
            *place = headers.iter().position(|name| name == column).ok_or_else(|| {
                TableError::NoColumn { path: self.path.clone(), column: column.to_owned() }
            })?;
        }
        let path = self.path;
        Ok(self.reader.into_records().map(move |record| {
            let record = record.map_err(|error| TableError::Csv { path: path.clone(), error })?;
            Ok(places.map(|place| record.get(place).unwrap_or_default().to_owned()))
        }))
    }
}

/// A number.
pub(crate) fn number(text: &str) -> Result<f64, TableError> {
    text.trim().parse().map_err(|_| TableError::Value { text: text.to_owned(), wanted: "a number" })
}

/// A position.
pub(crate) fn point(lat: &str, lon: &str) -> Result<Point, TableError> {
    Point::new(number(lat)?, number(lon)?)
        .map_err(|_| TableError::Value { text: format!("{lat},{lon}"), wanted: "a position" })
}
