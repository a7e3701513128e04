// Makes an archive of real streets, as a node serves it to the console, out of a folder of road tables (nodes.csv.gz, edges.csv.gz).
//
//   node streets.mjs ../../shared/data/road_manhattan streets.pmtiles
//   OUTRIDER_MAP__ARCHIVE=streets.pmtiles outrider demo --roads ../shared/data/road_manhattan
//
// Its tiles have the layers and kinds that the console knows from Protomaps' basemap: `roads`, of which the tables say no more than
// where they are and which way one may drive, and one of `places`, to have a name on the map. The file is a PMTiles archive of version 3:
//
//   header (127 bytes) | directory of all tiles | metadata | tiles, in the order of the directory

import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { GeoJSONVT } from "@maplibre/geojson-vt";
import { fromGeojsonVt } from "@maplibre/vt-pbf";
import { PMTiles, zxyToTileId } from "pmtiles";

const ZOOM = { least: 10, most: 15 };
const HEADER_BYTES = 127;
/** Readers fetch so much at first, and find the whole directory of all tiles in it. */
const FIRST_BYTES = 16_384;
const [GZIP, MVT] = [2, 1];
const CREDIT = "© OpenStreetMap contributors";

/** Writes the streets of `folder` to `file`; resolves to {center, crossings, nTiles, nBytes}. */
export async function writeStreets(folder, file) {
  const { crossings, roads } = await readRoads(folder);
  const lons = crossings.map(({ lon }) => lon);
  const lats = crossings.map(({ lat }) => lat);
  const bounds = { west: Math.min(...lons), south: Math.min(...lats), east: Math.max(...lons), north: Math.max(...lats) };
  const center = { lat: (bounds.south + bounds.north) / 2, lon: (bounds.west + bounds.east) / 2 };
  const places = [feature({ type: "Point", coordinates: [center.lon, center.lat] }, { kind: "locality", name: nameOf(folder) })];
  const tiles = cut({ roads, places }, bounds);
  const bytes = archive(tiles, bounds, center, {
    name: nameOf(folder), attribution: CREDIT, format: "pbf",
    vector_layers: [
      { id: "roads", fields: { kind: "String", kind_detail: "String" }, minzoom: ZOOM.least, maxzoom: ZOOM.most },
      { id: "places", fields: { kind: "String", name: "String" }, minzoom: ZOOM.least, maxzoom: ZOOM.most },
    ],
  });
  await writeFile(file, bytes);
  return { center, crossings, nTiles: tiles.length, nBytes: bytes.length };
}

/** `road_manhattan` is about Manhattan. */
function nameOf(folder) {
  const name = basename(folder).split("_").pop();
  return name[0].toUpperCase() + name.slice(1);
}

async function readTable(file) {
  const [head, ...rows] = gunzipSync(await readFile(file)).toString("utf8").trim().split(/\r?\n/);
  const columns = head.split(",");
  return rows.map((row) => Object.fromEntries(row.split(",").map((it, i) => [columns[i], it])));
}

/** Where streets meet, and the streets between: each once, and those with traffic both ways as greater ones. */
async function readRoads(folder) {
  const nodes = new Map((await readTable(join(folder, "nodes.csv.gz"))).map(({ node, lat, lon }) => [node, { lat: Number(lat), lon: Number(lon) }]));
  const edges = await readTable(join(folder, "edges.csv.gz"));
  const ways = new Set(edges.map((it) => `${it.from_node} ${it.to_node}`));
  const roads = edges.flatMap(({ from_node: from, to_node: to }) => {
    const isBothWays = ways.has(`${to} ${from}`);
    if (isBothWays && Number(to) < Number(from)) return [];
    const coordinates = [from, to].map((it) => [nodes.get(it).lon, nodes.get(it).lat]);
    const kinds = isBothWays ? { kind: "major_road", kind_detail: "secondary" } : { kind: "minor_road", kind_detail: "residential" };
    return [feature({ type: "LineString", coordinates }, kinds)];
  });
  return { crossings: [...nodes.values()], roads };
}

function feature(geometry, properties) {
  return { type: "Feature", geometry, properties };
}

/** The tiles in which there is something, as {id, bytes}, in the order of their ids. */
function cut(layers, { west, south, east, north }) {
  const indices = Object.entries(layers).map(([name, features]) => [
    name, new GeoJSONVT({ type: "FeatureCollection", features }, { maxZoom: ZOOM.most, indexMaxZoom: ZOOM.most, tolerance: 2, buffer: 64 }),
  ]);
  const tiles = [];
  for (let z = ZOOM.least; z <= ZOOM.most; z += 1) {
    const [[x0, y0], [x1, y1]] = [tileAt(z, west, north), tileAt(z, east, south)];
    for (let x = x0; x <= x1; x += 1) {
      for (let y = y0; y <= y1; y += 1) {
        const there = indices.map(([name, index]) => [name, index.getTile(z, x, y)]).filter(([, tile]) => tile && tile.features.length > 0);
        if (there.length === 0) continue;
        tiles.push({ id: zxyToTileId(z, x, y), bytes: gzipSync(fromGeojsonVt(Object.fromEntries(there), { version: 2, extent: 4096 })) });
      }
    }
  }
  return tiles.sort((a, b) => a.id - b.id);
}

/** Which tile a place is in. */
function tileAt(z, lon, lat) {
  const y = 0.5 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / (2 * Math.PI);
  return [Math.floor((lon / 360 + 0.5) * 2 ** z), Math.floor(y * 2 ** z)];
}

/** A whole archive, of tiles that are in order and one after the other. */
function archive(tiles, bounds, center, about) {
  const directory = gzipSync(directoryOf(tiles));
  if (HEADER_BYTES + directory.length > FIRST_BYTES) throw new Error(`${tiles.length} tiles need a directory of ${directory.length} bytes, too many for one`);
  const metadata = gzipSync(JSON.stringify(about));
  const nTileBytes = tiles.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const metadataAt = HEADER_BYTES + directory.length;
  const tilesAt = metadataAt + metadata.length;

  const header = Buffer.alloc(HEADER_BYTES);
  header.write("PMTiles", 0, "latin1");
  header.writeUInt8(3, 7);
  const numbers = [
    HEADER_BYTES, directory.length, metadataAt, metadata.length,
    // No directories of parts.
    tilesAt, 0,
    tilesAt, nTileBytes,
    // Tiles that can be asked for, entries of the directory, different contents.
    tiles.length, tiles.length, tiles.length,
  ];
  numbers.forEach((it, i) => header.writeBigUInt64LE(BigInt(it), 8 + 8 * i));
  // In order ("clustered"); how directory and metadata are compressed, and how tiles; what tiles are; from which zoom to which.
  [1, GZIP, GZIP, MVT, ZOOM.least, ZOOM.most].forEach((it, i) => header.writeUInt8(it, 96 + i));
  const degrees = (it, at) => header.writeInt32LE(Math.round(it * 1e7), at);
  [bounds.west, bounds.south, bounds.east, bounds.north].forEach((it, i) => degrees(it, 102 + 4 * i));
  header.writeUInt8(ZOOM.least + 2, 118);
  [center.lon, center.lat].forEach((it, i) => degrees(it, 119 + 4 * i));
  return Buffer.concat([header, directory, metadata, ...tiles.map(({ bytes }) => bytes)]);
}

/** Column after column: how far each id is from the one before, how many tiles are the same, lengths, and where each begins. */
function directoryOf(tiles) {
  const ids = tiles.map(({ id }, i) => id - (i === 0 ? 0 : tiles[i - 1].id));
  const lengths = tiles.map(({ bytes }) => bytes.length);
  // Where it begins, plus one; 0 is "where the one before ends".
  const begins = tiles.map((_, i) => (i === 0 ? 1 : 0));
  return Buffer.from([tiles.length, ...ids, ...tiles.map(() => 1), ...lengths, ...begins].flatMap(varint));
}

/** Seven bits to the byte, the lowest first; all but the last have the eighth. */
function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

/** An archive in a file, for `pmtiles` to read. */
export async function openArchive(file) {
  const bytes = await readFile(file);
  const getBytes = async (offset, length) => ({ data: Uint8Array.from(bytes.subarray(offset, offset + length)).buffer });
  return new PMTiles({ getKey: () => file, getBytes });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, file] = process.argv.slice(2);
  if (!folder || !file) throw new Error("which folder of road tables, and which file?");
  const { center, nTiles, nBytes } = await writeStreets(folder, file);
  const { minZoom, maxZoom } = await (await openArchive(file)).getHeader();
  console.log(`${file}: ${nTiles} tiles of zoom ${minZoom} to ${maxZoom} around ${center.lat.toFixed(4)}, ${center.lon.toFixed(4)}, ${nBytes} bytes`);
}
