// The usual stack, doing what Outrider is measured at: positions into Redis GEO, the ten nearest for each order,
// offers over Socket.IO, the first who says yes. As small as such a server can be: no login, no journal, no limits,
// one process, no adapter. All of that would only cost it more.
//
//   node dispatch.mjs       REDIS_URL=redis://127.0.0.1:6379 RADIUS_M=5000
//
// Says where it listens on its first line.

import { createServer } from "node:http";
import { createClient } from "redis";
import { Server } from "socket.io";

const DRIVERS = "drivers";
const N_NEAREST = 10;
const radius = Number(process.env.RADIUS_M ?? 5000);

const redis = createClient({ url: process.env.REDIS_URL });
redis.on("error", (error) => {
  console.error(`redis: ${error.message}`);
  process.exit(1);
});
await redis.connect();

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });
/** Drivers with an offer or an order. */
const busy = new Set();
/** Orders that were offered or taken: who wants it, who has it. */
const orders = new Map();

io.on("connection", (socket) => {
  const { driver, rider } = socket.handshake.auth;
  if (driver) {
    socket.join(driver);
    socket.on("position", ({ lat, lon }) => {
      redis.geoAdd(DRIVERS, { longitude: lon, latitude: lat, member: driver }).catch(fail);
    });
    socket.on("accept", ({ order }) => {
      const open = orders.get(order);
      if (open?.driver === driver) {
        io.to(open.rider).emit("assigned", { order, driver });
      }
    });
    socket.on("disconnect", () => redis.zRem(DRIVERS, driver).catch(fail));
  }
  if (rider) {
    socket.join(rider);
    socket.on("order", ({ order, lat, lon }) => offer(rider, order, lat, lon).catch(fail));
    socket.on("done", ({ order }) => {
      busy.delete(orders.get(order)?.driver);
      orders.delete(order);
    });
  }
});

async function offer(rider, order, lat, lon) {
  const near = await redis.geoSearch(DRIVERS, { longitude: lon, latitude: lat }, { radius, unit: "m" }, { SORT: "ASC", COUNT: N_NEAREST });
  const driver = near.find((it) => !busy.has(it));
  if (!driver) {
    io.to(rider).emit("nobody", { order });
    return;
  }
  busy.add(driver);
  orders.set(order, { rider, driver });
  io.to(driver).emit("offer", { order, lat, lon });
}

function fail(error) {
  console.error(error.message);
}

process.on("SIGTERM", () => process.exit(0));
http.listen(0, "127.0.0.1", () => console.log(`listening at 127.0.0.1:${http.address().port}`));
