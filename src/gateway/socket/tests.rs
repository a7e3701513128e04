use super::*;
use std::sync::{Arc, Mutex};

/// What was said, and when it was written.
type Log = Arc<Mutex<Vec<&'static str>>>;

/// Has so many messages to be read, and notes what is written.
#[derive(Debug)]
struct Noted {
    n_to_read: usize,
    log: Log,
}

impl Wire for Noted {
    fn begins(&mut self, _session: SessionId) {}
}

impl Stream for Noted {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.n_to_read == 0 {
            return Poll::Pending;
        }
        self.n_to_read -= 1;
        Poll::Ready(Some(Ok(Message::Text("{}".into()))))
    }
}

impl Sink<Message> for Noted {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _message: Message) -> Result<(), Error> {
        self.log.lock().unwrap().push("said");
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.log.lock().unwrap().push("written");
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush(cx)
    }
}

/// How many answers go out in each write, if each of so many messages is answered.
async fn writes(n_to_read: usize, queue_max: usize) -> Vec<usize> {
    let log = Log::default();
    let wire = Noted { n_to_read, log: Arc::clone(&log) };
    let mut socket = Socket::over(Box::new(wire), Codec::Json, queue_max);
    for _ in 0..n_to_read {
        loop {
            match socket.hear_as(|_codec, message| Heard::Frame(message)).await {
                Heard::Frame(message) => break socket.say(message).expect("there is room"),
                Heard::Written => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let last = socket.hear_as(|_codec, message| Heard::Frame(message)).await;
    assert!(matches!(last, Heard::Written), "{last:?}");
    assert!(socket.is_idle());
    let log = log.lock().unwrap();
    log.split(|it| *it == "written").map(<[_]>::len).filter(|n| *n > 0).collect()
}

#[tokio::test]
async fn answers_to_what_is_there_go_out_in_one_write() {
    assert_eq!(writes(1, 64).await, [1]);
    assert_eq!(writes(10, 64).await, [10]);
}

#[tokio::test]
async fn nothing_waits_for_what_never_ends_and_no_queue_is_filled_for_it() {
    let most = usize::from(READ_AT_ONCE_MAX) + 1;
    assert!(writes(200, 1_000).await.iter().all(|n| *n <= most));
    assert!(writes(200, 8).await.iter().all(|n| *n <= 3));
}

#[tokio::test]
async fn what_is_crowded_is_relieved() {
    let log = Log::default();
    let wire = Noted { n_to_read: 0, log: Arc::clone(&log) };
    let mut socket = Socket::over(Box::new(wire), Codec::Json, 8);
    for n in 1..=3 {
        socket.say(Message::Text("{}".into())).unwrap();
        socket.relieve().await;
        assert_eq!(socket.is_idle(), n == 3);
    }
    assert_eq!(*log.lock().unwrap(), ["said", "said", "said", "written"]);
}
